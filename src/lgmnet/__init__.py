"""lgmnet"""

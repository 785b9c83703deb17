"""Meta-training on Lightning Fabric (extra ``lgmnet[train]``)."""

"""What the papers and their code can be asked, and figures of the answers."""

"""FineXtract: images drawn by model guidance, their clusters, and how near they come to photos."""

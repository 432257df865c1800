"""The black-box attack model: network, images, scores, files."""

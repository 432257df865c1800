"""Where on a photo a diffusion model repainted: networks, their training, and their maps."""

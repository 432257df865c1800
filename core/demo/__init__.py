"""The embedded demo: drawn faces, a tiny latent diffusion model, suspects of known truth."""

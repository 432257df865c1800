"""Photos with a repainted region and its mask: RePaint, classical generators, LaMa."""

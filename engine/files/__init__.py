"""Open models that do not lie in one folder of diffusers' layout: single files, and parts that are named apart."""

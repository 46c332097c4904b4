"""What torch and NVIDIA's libraries offer for the same products: one declarative file each."""

"""Device code alone: what one program of a grid does. Which grid, and for what, is said outside.

Capital arguments are known when a kernel is compiled. Every stride is in elements.
"""

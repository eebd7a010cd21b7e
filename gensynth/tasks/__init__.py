"""What networks are trained for.

classification    one class an image
"""

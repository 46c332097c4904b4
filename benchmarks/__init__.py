"""What is measured, how, and against what. Nothing here is part of the installed package."""

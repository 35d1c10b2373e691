"""``python -m hf_lesionseg`` is the same as ``lesionseg``."""

from .cli import main

if __name__ == "__main__":
    main()

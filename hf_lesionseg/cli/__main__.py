"""``python -m hf_lesionseg.cli`` is the same as ``lesionseg``."""

from .app import main

if __name__ == "__main__":
    main()

"""``python -m napari_physgen`` is the command line."""

from napari_physgen.cli import main

if __name__ == "__main__":
    main()

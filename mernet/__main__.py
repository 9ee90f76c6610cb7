"""`python -m mernet`: the same as the command `mernet`."""

from mernet.cli.main import main

if __name__ == "__main__":
    main()

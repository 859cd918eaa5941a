"""`python -m ddpde` is the `ddpde` command."""

from ddpde.cli import main

if __name__ == "__main__":
    main()

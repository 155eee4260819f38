"""The kinds of jobs: every module of this folder is one, with what `studio/kinds.py` says. Its name is the kind's."""

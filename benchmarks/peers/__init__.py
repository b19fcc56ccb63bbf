#!/usr/bin/env python3
"""Well-known libraries for the same job, each as its own pages show it.

Each file is a whole app. It runs in an environment of its own with this
folder as the current one, so it imports nothing of ours.
"""

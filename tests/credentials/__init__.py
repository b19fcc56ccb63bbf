#!/usr/bin/env python3
"""Tests of the pure room, which need no fixture."""

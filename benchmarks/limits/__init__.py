#!/usr/bin/env python3
"""What nobody can go below here: a bare framework, a bare look-up, a hash."""

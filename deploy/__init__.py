#!/usr/bin/env python3
"""How the service is run for others: servers, containers, proxies."""

#!/usr/bin/env python3
"""The short script in the full product of modes: journal mode x synchronous x page size x locking mode x backend."""
import os
import runner

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'scripts', 'matrix.sql')) as file: script = file.read()
backends, left_out = runner.available_backends()
jobs = [('matrix.sql', script, combination) for combination in runner.every_combination()]
runner.compare(jobs, backends, 'conformance, full product of modes')
if left_out: print(f'uring_backend=uring left out: {left_out}')

"""The parts of :mod:`archwright.solve.allocation`: programme, bounds, bins, explanations."""

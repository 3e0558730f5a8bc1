"""From photostimulation to maps, matrices and tests: what ``calzoo stimulus`` and ``compare`` do."""

"""CT perfusion of acute strokes with known flow and infarct, laid out like ISLES 2018."""

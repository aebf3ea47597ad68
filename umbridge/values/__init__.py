"""Small values that larger ones are made of: bounds, states of a row, who signed, who cares for a patient."""

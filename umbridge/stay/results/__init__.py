"""The results of one stay: which values stand, whatever was corrected, copied or told twice."""

"""placeholder until the content lands"""

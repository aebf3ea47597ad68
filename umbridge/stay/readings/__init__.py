"""Facts as a review reads them: within their windows, never imputed."""

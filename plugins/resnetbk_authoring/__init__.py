"""What authors of specs and of packages use besides core: a plugin like any other."""

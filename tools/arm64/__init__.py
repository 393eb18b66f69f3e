"""`make test-arm64`: smartbin from wheels on an emulated Debian arm64, judged against x86."""

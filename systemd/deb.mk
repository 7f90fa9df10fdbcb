# A Debian package from systemd/debian. debhelper wants its files at the top, so that they are put there in a copy.

# What building and checking it needs beyond the others.
DEB_DEPS := build-essential debhelper fakeroot lintian

DEB_DIR := $(B)/deb
DEB_TREE := $(DEB_DIR)/twisty-$(VERSION)
DEB_SOURCES := Makefile README.md conf ctl daemon systemd tests

# Its unit tests are those of `make test`, and not run again.
deb: ## build a Debian package, and check it
	rm -rf $(DEB_DIR)
	mkdir -p $(DEB_TREE)
	cp -r $(DEB_SOURCES) $(DEB_TREE)
	mv $(DEB_TREE)/systemd/debian $(DEB_TREE)/debian
	cd $(DEB_TREE) && env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS DEB_BUILD_OPTIONS=nocheck \
		dpkg-buildpackage --build=binary --unsigned-changes --unsigned-buildinfo
	lintian --fail-on error --allow-root $(DEB_DIR)/*.changes

.PHONY: deb

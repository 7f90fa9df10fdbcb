# The tests on a booted system: tests/service.

# What they need beyond the others.
SERVICE_DEPS := systemd-container dbus libpam-systemd

# What an upgrade begins with.
OLDER := $(B)/older
older:
	@$(MAKE) -s all B=$(OLDER) VERSION=0.0.9

# In namespaces of its own: when this ends, in whatever way, the kernel ends the containers and takes off the mounts. The
# shell is their first process, and waits for those that have lost their parent.
test-service: all older deb ## boot a real systemd, and test the units in it (as root, or with sudo)
	sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	$$sudo unshare --mount --pid --fork --kill-child --mount-proc sh -c '"$$@"; exit $$?' sh \
		env TWISTY_BUILD=$(abspath $(B)) $(PYTHON) -B -m pytest -q -rs -n $(JOBS) --dist loadfile -p no:cacheprovider tests/service $(T)

.PHONY: test-service older

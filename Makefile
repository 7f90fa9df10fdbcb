# twisty: build, test, install. `make help` lists the targets.

PREFIX ?= /usr
SYSCONFDIR ?= /etc
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
UNITDIR ?= $(shell pkg-config --variable=systemdsystemunitdir systemd)
USERUNITDIR ?= $(shell pkg-config --variable=systemduserunitdir systemd)
SYSUSERSDIR ?= $(shell pkg-config --variable=sysusersdir systemd)
CATALOGDIR ?= $(shell pkg-config --variable=catalogdir systemd)

B ?= build
CC ?= cc
PYTHON ?= /usr/bin/python3
# More for pytest: make test-functional T='-k countdown'
T ?=
JOBS ?= $(shell nproc)

VERSION := 0.1.0
PACKAGES := libevent_core libsystemd inih sqlite3

WARNINGS := -Wall -Wextra -Wconversion -Wvla -Wmissing-prototypes -Wstrict-prototypes -Wshadow -Wformat=2 -Werror
HARDENING := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
OPT ?= -O2 -g
CPPFLAGS += -D_GNU_SOURCE -DTWISTY_VERSION='"$(VERSION)"' -I. -I$(B)/gen
CFLAGS += -std=gnu17 $(OPT) $(WARNINGS) $(HARDENING) $(SANITIZE)
LDFLAGS += -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(SANITIZE)

# Asked for when it is needed, and once: `make deps test` installs pkg-config first.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PACKAGES)))$(PKG_CFLAGS)
PKG_LIBS = $(shell pkg-config --libs $(PACKAGES))

# twistyctl takes inih, which is made for that, into itself where it comes as an archive, as in Debian: only `add --file`
# needs it, and a run is so short that to load it is a part of it. CTL_LIBS=-linih has it loaded.
CTL_LIBS = $(or $(abspath $(filter /%,$(shell $(CC) -print-file-name=libinih.a))),-linih)

# Everything but the two main.c is a library that the tests link.
DAEMON_SRC := $(filter-out daemon/main.c,$(wildcard daemon/*.c))
SHARED_SRC := $(patsubst %,daemon/%.c,quantity text siphash spec emit skim varlink chain action conf_mistakes \
	conf_text settings conf_after config conf_files)
CTL_SRC := $(filter-out ctl/main.c,$(wildcard ctl/*.c))
UNIT_SRC := $(wildcard tests/unit/test_*.c)
SIM_SRC := $(wildcard tests/unit/sim_*.c)
SOURCES := $(wildcard daemon/*.[ch] ctl/*.[ch] tests/unit/*.[ch] tests/bench/*.[ch])

obj = $(patsubst %.c,$(B)/%.o,$(1))
LIB := $(B)/libtwisty.a
CTL_LIB := $(B)/libtwistyctl.a
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/tests/%,$(UNIT_SRC))
SIM_BIN := $(patsubst tests/unit/%.c,$(B)/tests/%,$(SIM_SRC))
MAN := daemon/twistyd.8 daemon/twistyd.conf.5 ctl/twistyctl.1
SHELL_FILES := .ci/run ctl/completion/twistyctl systemd/debian/twisty.postinst systemd/debian/twisty.postrm systemd/examples/twisty-alarm
GEN := $(B)/gen/interfaces.h

all: $(B)/twistyd $(B)/twistyctl ## build both programs (the default)

$(B)/twistyd: $(call obj,daemon/main.c) $(LIB)
	$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(B)/twistyctl: $(call obj,ctl/main.c) $(CTL_LIB)
	$(CC) $(LDFLAGS) -o $@ $^ $(CTL_LIBS)

$(LIB): $(call obj,$(DAEMON_SRC))
	rm -f $@ && $(AR) rcs $@ $^

$(CTL_LIB): $(call obj,$(CTL_SRC) $(SHARED_SRC))
	rm -f $@ && $(AR) rcs $@ $^

$(B)/%.o: %.c | $(GEN)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The interface files as C strings: they are served from the binary.
$(GEN): daemon/io.twisty.Control.varlink daemon/org.varlink.service.varlink
	@mkdir -p $(@D)
	for f in $^; do \
		n=$$(basename $$f .varlink | tr .A-Z _a-z); \
		echo "static const char interface_$$n[] ="; \
		sed 's/\\/\\\\/g; s/"/\\"/g; s/.*/"&\\n"/' $$f; echo ";"; \
	done > $@.tmp && mv $@.tmp $@

$(B)/tests/%: tests/unit/%.c $(LIB) $(CTL_LIB)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) -Wno-missing-prototypes -MMD -MP $(LDFLAGS) -o $@ $< \
		$(LIB) $(CTL_LIB) $(PKG_LIBS) -ljansson -lcmocka

# This one makes each allocation fail in turn.
$(B)/tests/test_nomem: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=reallocarray,--wrap=strdup

include tests/bench/bench.mk
include tests/service/service.mk
include systemd/deb.mk

-include $(wildcard $(B)/daemon/*.d $(B)/ctl/*.d $(B)/tests/*.d)

# What the build needs, then what the tests and lint need.
DEPS := gcc make pkg-config libevent-dev libsystemd-dev libinih-dev libjansson-dev libsqlite3-dev systemd \
	libcmocka-dev python3-pytest python3-pytest-xdist python3-twisted rsyslog strace util-linux bash-completion \
	clang clang-format clang-tidy cppcheck shellcheck mandoc $(SERVICE_DEPS) $(DEB_DEPS) $(BENCH_DEPS)

deps: ## install the Debian packages that building, testing and linting need
	sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	$$sudo apt-get update -q && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(DEPS)

ifneq ($(filter deps,$(MAKECMDGOALS)),)
$(GEN): | deps
endif

run: all ## start the daemon in the foreground on three counters
	$(B)/twistyd -c conf/examples/three-counters.conf --socket $(B)/run/control.sock --log-target stderr

test: test-unit test-functional ## run every test

test-unit: $(UNIT_BIN) ## run the unit tests
	@printf '%s\n' $(UNIT_BIN) | xargs -P $(JOBS) -I{} sh -c 'timeout 120 {} >{}.log 2>&1 || { cat {}.log; exit 1; }'
	@for t in $(UNIT_BIN); do echo "$$(basename $$t): $$(grep -a 'PASSED' $$t.log)"; done

test-functional: all $(SIM_BIN) ## run the tests of the programs (some: T='-k reload')
	TWISTY_BUILD=$(abspath $(B)) $(PYTHON) -m pytest -q -rs -n $$(($(JOBS) * 2)) -p no:cacheprovider \
		tests/functional $(T)

soak: all $(B)/tests/test_database $(B)/tests/test_nomem ## 10,000 kills, a state file cut at every byte, 100,000 actions (half an hour)
	TWISTY_SOAK=1 TWISTY_BUILD=$(abspath $(B)) $(PYTHON) -m pytest -q -s -p no:cacheprovider \
		tests/functional/test_actions.py -k 'many or wait_for'
	TWISTY_SOAK=1 $(B)/tests/test_database
	TWISTY_SOAK=1 $(B)/tests/test_nomem
	TWISTY_SOAK=1 TWISTY_BUILD=$(abspath $(B)) $(PYTHON) -m pytest -q -n $(JOBS) -p no:cacheprovider \
		tests/functional/test_state_kill.py

SANITIZE_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

asan: ## run every test under the address and undefined behaviour sanitizers
	$(MAKE) test B=$(B)/asan SANITIZE='$(SANITIZE_FLAGS)' OPT='-O1 -g' HARDENING=-fPIE

lint: $(GEN) ## check formatting, code, include directions, shell scripts and man pages
	clang-format --dry-run -Werror $(SOURCES)
	$(MAKE) all B=$(B)/clang CC=clang
	printf '%s\n' $(filter daemon/%.c ctl/%.c,$(SOURCES)) | xargs -P $(JOBS) -I{} clang-tidy --quiet {} -- $(CPPFLAGS) -std=gnu17
	@# uninitvar: without the system's headers cppcheck does not know the loops of <sys/queue.h>; clang-tidy does.
	cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability --inline-suppr \
		--suppress=missingIncludeSystem --suppress=uninitvar -I. -I$(B)/gen daemon ctl
	$(PYTHON) -m pytest -q -p no:cacheprovider tests/functional/test_includes.py
	shellcheck $(SHELL_FILES)
	mandoc -T lint -W warning $(MAN)

format: ## format the C files
	clang-format -i $(SOURCES)

install: all ## install programs, units, configuration and man pages (DESTDIR, PREFIX)
	install -D -m 755 $(B)/twistyd $(DESTDIR)$(PREFIX)/sbin/twistyd
	install -D -m 755 $(B)/twistyctl $(DESTDIR)$(PREFIX)/bin/twistyctl
	install -D -m 644 -t $(DESTDIR)$(UNITDIR) systemd/twistyd.service systemd/twistyd.socket
	install -D -m 644 -t $(DESTDIR)$(USERUNITDIR) systemd/user/twistyd.service systemd/user/twistyd.socket
	sed -i 's|/usr/sbin/|$(PREFIX)/sbin/|; s|/usr/bin/|$(PREFIX)/bin/|' \
		$(DESTDIR)$(UNITDIR)/twistyd.service $(DESTDIR)$(USERUNITDIR)/twistyd.service
	install -D -m 644 systemd/sysusers.conf $(DESTDIR)$(SYSUSERSDIR)/twisty.conf
	install -D -m 644 systemd/twisty.catalog $(DESTDIR)$(CATALOGDIR)/twisty.catalog
	install -D -m 644 ctl/completion/twistyctl $(DESTDIR)$(COMPLETIONDIR)/twistyctl
	install -D -m 644 daemon/twistyd.8 $(DESTDIR)$(MANDIR)/man8/twistyd.8
	install -D -m 644 daemon/twistyd.conf.5 $(DESTDIR)$(MANDIR)/man5/twistyd.conf.5
	install -D -m 644 ctl/twistyctl.1 $(DESTDIR)$(MANDIR)/man1/twistyctl.1
	[ -e $(DESTDIR)$(SYSCONFDIR)/twisty/twistyd.conf ] || \
		install -D -m 644 conf/twistyd.conf $(DESTDIR)$(SYSCONFDIR)/twisty/twistyd.conf
	install -d $(DESTDIR)$(SYSCONFDIR)/twisty/twistyd.conf.d

uninstall: ## remove what install put there, but the configuration
	rm -f $(DESTDIR)$(PREFIX)/sbin/twistyd $(DESTDIR)$(PREFIX)/bin/twistyctl \
		$(DESTDIR)$(UNITDIR)/twistyd.service $(DESTDIR)$(UNITDIR)/twistyd.socket \
		$(DESTDIR)$(USERUNITDIR)/twistyd.service $(DESTDIR)$(USERUNITDIR)/twistyd.socket \
		$(DESTDIR)$(SYSUSERSDIR)/twisty.conf $(DESTDIR)$(CATALOGDIR)/twisty.catalog \
		$(DESTDIR)$(COMPLETIONDIR)/twistyctl $(DESTDIR)$(MANDIR)/man8/twistyd.8 \
		$(DESTDIR)$(MANDIR)/man5/twistyd.conf.5 $(DESTDIR)$(MANDIR)/man1/twistyctl.1

clean: ## remove everything that was built
	rm -rf $(B)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile tests/bench/bench.mk tests/service/service.mk systemd/deb.mk | expand -t 17

.PHONY: all deps run test test-unit test-functional soak asan lint format install uninstall clean help
.DELETE_ON_ERROR:

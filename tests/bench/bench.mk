# The bench: our modules and Debian's peers side by side. Peers that are not installed are left out, and named.

# What the bench needs beyond DEPS; without them it runs with what there is.
BENCH_DEPS := libuv1-dev libev-dev redis-server valgrind

ifneq ($(filter bench%,$(MAKECMDGOALS)),)
can_include = $(shell echo '\#include <$(1)>' | $(CC) -E -x c - >/dev/null 2>&1 && echo yes)
BENCH_PEERS := libevent $(if $(call can_include,uv.h),libuv) $(if $(call can_include,ev.h),libev)
endif
BENCH_PROGRAMS := $(patsubst %,timers_%,sched jobs $(BENCH_PEERS)) \
	$(patsubst %,lines_%,report_syslog report_journal syslog sd_journal) \
	$(patsubst %,ticks_%,libevent_precise $(BENCH_PEERS)) callers repeat longest durable_sqlite
BENCH := TWISTY_BUILD=$(abspath $(B)) $(PYTHON) -B tests/bench/bench.py

$(B)/bench/%_libevent: BENCH_LIBS := -levent_core
$(B)/bench/%_libuv: BENCH_LIBS := -luv
$(B)/bench/%_libev: BENCH_LIBS := -lev

# A program is one file with what it shares with others.
$(B)/bench/timers_%: tests/bench/timers_%.c tests/bench/timers.c tests/bench/virtual_clock.c $(LIB) \
		$(wildcard tests/bench/*.h) tests/unit/random.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) $(LIB) $(BENCH_LIBS)

TICKS := tests/bench/ticks.c $(LIB) $(wildcard tests/bench/*.h)
$(B)/bench/%_precise: CPPFLAGS += -DPRECISE
$(B)/bench/%_precise: BENCH_LIBS := -levent_core
$(B)/bench/ticks_%_precise: tests/bench/ticks_%.c $(TICKS)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) $(LIB) $(BENCH_LIBS)

$(B)/bench/ticks_%: tests/bench/ticks_%.c $(TICKS)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) $(LIB) $(BENCH_LIBS)

$(B)/bench/lines_report_journal: CPPFLAGS += -DLINES_JOURNAL
$(B)/bench/lines_report_%: tests/bench/lines_report.c tests/bench/lines.c $(LIB) $(wildcard tests/bench/*.h)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) $(LIB) $(PKG_LIBS)

$(B)/bench/lines_%: tests/bench/lines_%.c tests/bench/lines.c $(wildcard tests/bench/*.h)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) $(PKG_LIBS)

$(B)/bench/%: tests/bench/%.c $(LIB) $(wildcard tests/bench/*.h) tests/unit/random.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(LIB) $(PKG_LIBS) $(BENCH_LIBS)

bench-programs: all $(patsubst %,$(B)/bench/%,$(BENCH_PROGRAMS))

bench: bench-programs ## measure everything, beside the peers (under ten minutes)
	$(BENCH)

bench-quick: bench-programs ## measure what matters most (under a minute)
	$(BENCH) --quick

bench-check: bench-programs ## assert what the figures have to keep, ratios and instruction counts
	$(BENCH) --check

.PHONY: bench bench-quick bench-check bench-programs

# The bench: our modules and Debian's peers side by side. Peers that are not installed are left out, and named.

# What the bench needs beyond DEPS; without them it runs with what there is.
BENCH_DEPS := libuv1-dev libev-dev valgrind

ifneq ($(filter bench%,$(MAKECMDGOALS)),)
can_include = $(shell echo '\#include <$(1)>' | $(CC) -E -x c - >/dev/null 2>&1 && echo yes)
BENCH_PEERS := libevent $(if $(call can_include,uv.h),libuv) $(if $(call can_include,ev.h),libev)
endif
BENCH_BIN := $(patsubst %,$(B)/bench/timers_%,sched $(BENCH_PEERS))
BENCH := TWISTY_BUILD=$(abspath $(B)) $(PYTHON) -B tests/bench/bench.py

$(B)/bench/timers_libevent: BENCH_LIBS := -levent_core
$(B)/bench/timers_libuv: BENCH_LIBS := -luv
$(B)/bench/timers_libev: BENCH_LIBS := -lev

$(B)/bench/timers_%: tests/bench/timers_%.c tests/bench/timers.c tests/bench/virtual_clock.c $(LIB) \
		$(wildcard tests/bench/*.h) tests/unit/random.h daemon/sched.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) $(LIB) $(BENCH_LIBS)

bench-programs: $(BENCH_BIN)

bench: bench-programs ## measure everything, beside the peers (some minutes)
	$(BENCH)

bench-quick: bench-programs ## measure what matters most (under a minute)
	$(BENCH) --quick

bench-check: bench-programs ## assert the ratios that the scheduler has to keep
	$(BENCH) --check

.PHONY: bench bench-quick bench-check bench-programs

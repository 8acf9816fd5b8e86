# uringvfs: `make help` lists the targets.
#
# ext -> vfs -> runtime: each layer sees only the public header of the one below it. build/include/<layer>/ holds (links
# to) these headers, and runtime/ gets a <sqlite3.h> that refuses to compile.

VERSION := 0.1.0
SOVERSION := 0

# ---- What a user may set ----------------------------------------------------------------------------------------

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
DESTDIR ?=
# SAN=address,undefined or SAN=thread: everything with these sanitizers, in a build directory of its own.
SAN ?=
BUILD ?= build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
# TESTS='tests/vfs/*' or TESTS=test_fork: the tests to run, by path or by name; shell patterns, several with spaces.
TESTS ?=
# Tests run at once, and seconds without progress (tests/watch.py) after which one has failed.
JOBS ?= 2
TEST_STALL ?= 120

ifeq ($(origin CC),default)
CC := gcc
endif
AR ?= ar
PKG_CONFIG ?= pkg-config
CLANG_FORMAT ?= clang-format
CLANG_TIDY ?= clang-tidy
CPPCHECK ?= cppcheck
VALGRIND ?= valgrind

CFLAGS ?= -O2 -g
CPPFLAGS ?=
LDFLAGS ?=

# ---- Flags ------------------------------------------------------------------------------------------------------

comma := ,
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')

# pkg-config is asked when it is first needed, not when the Makefile is read: `make deps all` may install it on the way.
memo = $(eval $(1) := $$(shell $(2)))$($(1))
SQLITE_CFLAGS = $(call memo,SQLITE_CFLAGS,$(PKG_CONFIG) --cflags sqlite3)
SQLITE_LIBS = $(call memo,SQLITE_LIBS,$(PKG_CONFIG) --libs sqlite3)
URING_CFLAGS = $(call memo,URING_CFLAGS,$(PKG_CONFIG) --cflags liburing)
URING_LIBS = $(call memo,URING_LIBS,$(PKG_CONFIG) --libs liburing)
TEST_CFLAGS = $(call memo,TEST_CFLAGS,$(PKG_CONFIG) --cflags cmocka libseccomp)
TEST_LIBS = $(call memo,TEST_LIBS,$(PKG_CONFIG) --libs cmocka libseccomp) -ldl -lm
FUSE_CFLAGS = $(call memo,FUSE_CFLAGS,$(PKG_CONFIG) --cflags fuse3)
FUSE_LIBS = $(call memo,FUSE_LIBS,$(PKG_CONFIG) --libs fuse3)

warnings := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith \
  -Wwrite-strings -Wvla -Wundef -Wformat-security $(if $(WERROR),-Werror)
sanitize := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
# The empty value: a file that also has `#define _GNU_SOURCE` repeats it without a warning.
all_cflags = -std=gnu11 -D_GNU_SOURCE= -pthread -fPIC -fvisibility=hidden -fstack-protector-strong $(warnings) \
  $(sanitize) -MMD -MP $(CPPFLAGS) $(CFLAGS)
all_ldflags = -pthread $(sanitize) $(CFLAGS) $(LDFLAGS)
# Undefined symbols are errors. A sanitizer's own symbols are found in the program that loads the library.
so_ldflags = -shared -Wl,-z,relro,-z,now $(if $(SAN),,-Wl,-z,defs)

runtime_flags = -I$(BUILD)/include/poison $(URING_CFLAGS)
vfs_flags = -I$(BUILD)/include/runtime $(SQLITE_CFLAGS)
ext_flags = -I$(BUILD)/include/vfs $(SQLITE_CFLAGS)
test_flags = -I$(BUILD)/include/runtime -I$(BUILD)/include/vfs -I. $(SQLITE_CFLAGS) $(URING_CFLAGS) $(TEST_CFLAGS)

# ---- Sources and what is made of them -----------------------------------------------------------------------------

runtime_src := $(sort $(wildcard runtime/*.c))
vfs_src := $(sort $(wildcard vfs/*.c vfs/*/*.c))
ext_src := $(sort $(wildcard ext/*.c))
demo_src := $(sort $(wildcard demo/*.c))
tests_all_c := $(filter-out tests/sqlite/%,$(sort $(wildcard tests/*.c tests/*/*.c tests/*/*/*.c)))
test_src := $(foreach f,$(tests_all_c),$(if $(filter test_%,$(notdir $(f))),$(f)))
support_src := $(foreach f,$(tests_all_c),$(if $(filter support%,$(notdir $(f))),$(f)))
prog_src := $(foreach f,$(tests_all_c),$(if $(filter prog_%,$(notdir $(f))),$(f)))
fuzz_src := $(foreach f,$(tests_all_c),$(if $(filter fuzz_%,$(notdir $(f))),$(f)))
preload_src := $(foreach f,$(tests_all_c),$(if $(filter preload_%,$(notdir $(f))),$(f)))
# An archive that every test program may draw on: a simulated backend, say.
shared_src := $(filter-out $(test_src) $(support_src) $(prog_src) $(preload_src),$(filter tests/sim/%,$(tests_all_c)))
test_scripts := $(sort $(wildcard tests/test_*.sh tests/test_*.py tests/*/test_*.sh tests/*/test_*.py \
  tests/*/*/test_*.sh tests/*/*/test_*.py))

runtime_obj := $(runtime_src:%.c=$(BUILD)/%.o)
# The vfs calls SQLite directly in the library, and through the table of the loading program in the extension: that
# program may carry an SQLite of its own, whose symbols nobody else sees.
vfs_obj := $(vfs_src:%.c=$(BUILD)/%.o)
vfs_ext_obj := $(vfs_src:%.c=$(BUILD)/loadable/%.o)
ext_obj := $(ext_src:%.c=$(BUILD)/loadable/%.o)
ext_static_obj := $(ext_src:%.c=$(BUILD)/%.o)
test_bin := $(test_src:%.c=$(BUILD)/%)
prog_bin = $(patsubst %.c,$(BUILD)/%,$(filter-out $(if $(have_fuse),,%faultfs.c %_fuse.c),$(prog_src)))
fuzz_bin := $(fuzz_src:%.c=$(BUILD)/%)
preload_so := $(preload_src:%.c=$(BUILD)/%.so)
shared_obj := $(shared_src:%.c=$(BUILD)/%.o)
demo_bin := $(demo_src:%.c=$(BUILD)/%) $(BUILD)/demo/bench/bench
demo_common_obj := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard demo/common/*.c)))
bench_obj := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard demo/bench/*.c)))
# Asked when the Makefile is read, since prerequisites depend on it: `make deps check` is going to install it.
have_fuse = $(if $(filter deps,$(MAKECMDGOALS)),yes,$(call memo,have_fuse,$(PKG_CONFIG) --exists fuse3 && echo yes))

extension := $(BUILD)/uringvfs.so
library := $(BUILD)/liburingvfs.a
shared_library := $(BUILD)/liburingvfs.so
runtime_library := $(BUILD)/liburingrt.a
products := $(runtime_library) $(library) $(shared_library) $(extension) $(BUILD)/uringvfs.pc $(BUILD)/uringrt.pc

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all deps check check-valgrind check-sqlite check-crash check-powercut check-model check-readahead check-fuzz fuzzers soak tests demo compare bench instructions install uninstall clean format lint help force

all: $(products)

# ---- Preparation ----------------------------------------------------------------------------------------------------

# Rewritten only when compiler or flags change, so that everything is then compiled anew.
config := $(BUILD)/config
config_text = $(CC) $(all_cflags) $(all_ldflags) $(SQLITE_CFLAGS) $(URING_CFLAGS)
$(config): force $(filter deps,$(MAKECMDGOALS))
	@mkdir -p $(@D)
	@$(PKG_CONFIG) --exists sqlite3 liburing 2>/dev/null || \
	  { echo "uringvfs needs the headers of SQLite and liburing: run 'make deps'" >&2; exit 1; }
	@printf '%s\n' '$(config_text)' | cmp -s - $@ || printf '%s\n' '$(config_text)' >$@

headers := $(BUILD)/include/runtime/rt.h $(BUILD)/include/vfs/uringvfs.h $(BUILD)/include/poison/sqlite3.h
$(BUILD)/include/runtime/rt.h: runtime/rt.h
$(BUILD)/include/vfs/uringvfs.h: vfs/uringvfs.h
$(BUILD)/include/runtime/rt.h $(BUILD)/include/vfs/uringvfs.h:
	@mkdir -p $(@D) && ln -sfnr $< $@
$(BUILD)/include/poison/sqlite3.h: Makefile
	@mkdir -p $(@D)
	@echo '#error "the runtime knows nothing of SQLite"' | tee $(@D)/sqlite3ext.h >$@

# ---- Compiling --------------------------------------------------------------------------------------------------------

define compile
$(call say,CC,$<)
$(Q)mkdir -p $(@D)
$(Q)$(CC) $(all_cflags) $(1) -c -o $@ $<
endef

needs = $(config) | $(headers)
$(BUILD)/runtime/%.o: runtime/%.c $(needs)
	$(call compile,$(runtime_flags))
$(BUILD)/vfs/%.o: vfs/%.c $(needs)
	$(call compile,$(vfs_flags))
$(BUILD)/loadable/vfs/%.o: vfs/%.c $(needs)
	$(call compile,-DURINGVFS_EXTENSION $(vfs_flags))
$(BUILD)/ext/%.o: ext/%.c $(needs)
	$(call compile,-DSQLITE_CORE $(ext_flags))
$(BUILD)/loadable/ext/%.o: ext/%.c $(needs)
	$(call compile,-DURINGVFS_EXTENSION $(ext_flags))
# What tests the runtime has no SQLite either.
$(BUILD)/tests/runtime/%.o: tests/runtime/%.c $(needs)
	$(call compile,-I$(BUILD)/include/poison $(test_flags))
$(BUILD)/tests/%_fuse.o $(BUILD)/tests/%faultfs.o: test_flags += $(FUSE_CFLAGS)
$(BUILD)/tests/%.o: tests/%.c $(needs)
	$(call compile,$(test_flags))
$(BUILD)/demo/%.o: demo/%.c $(needs)
	$(call compile,-Idemo $(test_flags))

# ---- Linking ----------------------------------------------------------------------------------------------------------

$(runtime_library): $(runtime_obj)
$(library): $(runtime_obj) $(vfs_obj) $(ext_static_obj)
$(BUILD)/tests/libshared.a: $(shared_obj)
$(BUILD)/%.a: Makefile
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$(shared_library): $(runtime_obj) $(vfs_obj) ext/liburingvfs.map Makefile
	$(call say,LD,$@)
	$(Q)$(CC) $(all_ldflags) $(so_ldflags) -Wl,-soname,liburingvfs.so.$(SOVERSION) \
	  -Wl,--version-script=ext/liburingvfs.map -o $@.new $(filter %.o,$^) $(SQLITE_LIBS) $(URING_LIBS)
	$(Q)mv -f $@.new $@
	$(Q)ln -sf liburingvfs.so $@.$(SOVERSION)

# Replaced in one step: programs may have the old one loaded. No -lsqlite3 here: with -z defs, a direct call of SQLite does not link.
$(extension): $(runtime_obj) $(vfs_ext_obj) $(ext_obj) ext/uringvfs.map Makefile
	$(call say,LD,$@)
	$(Q)$(CC) $(all_ldflags) $(so_ldflags) -Wl,-z,nodelete -Wl,-soname,uringvfs.so \
	  -Wl,--version-script=ext/uringvfs.map -o $@.new $(filter %.o,$^) $(URING_LIBS)
	$(Q)mv -f $@.new $@

# Written anew for every prefix.
$(BUILD)/uringvfs.pc $(BUILD)/uringrt.pc: $(BUILD)/%.pc: ext/%.pc.in Makefile force
	@mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR:$(PREFIX)/%=$${prefix}/%)|' \
	  -e 's|@INCLUDEDIR@|$(INCLUDEDIR:$(PREFIX)/%=$${prefix}/%)|' -e 's|@VERSION@|$(VERSION)|' $< >$@

support_of = $(patsubst %.c,$(BUILD)/%.o,$(filter $(dir $(1))support%,$(support_src)) $(wildcard tests/support*.c))
library_for = $(if $(filter tests/runtime/%,$(1)),$(runtime_library),$(library))
sqlite_for = $(if $(filter tests/runtime/%,$(1)),,$$(SQLITE_LIBS))
define test_program
$(BUILD)/$(1:.c=): $(BUILD)/$(1:.c=.o) $(call support_of,$(1)) $(BUILD)/tests/libshared.a $(call library_for,$(1))
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(all_ldflags) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) -Wl,--as-needed $$(TEST_LIBS) \
	  $$(if $$(filter %faultfs %_fuse,$$@),$$(FUSE_LIBS)) $(call sqlite_for,$(1)) $$(URING_LIBS)
endef
$(foreach f,$(test_src) $(prog_src) $(fuzz_src),$(eval $(call test_program,$(f))))
# libFuzzer brings their main. The libraries are compiled for it in a build of their own: see check-fuzz.
$(fuzz_bin): all_ldflags += -fsanitize=fuzzer

$(preload_so): $(BUILD)/%.so: $(BUILD)/%.o
	$(call say,LD,$@)
	$(Q)$(CC) $(all_ldflags) -shared -o $@ $< -ldl
$(preload_so:.so=.o): all_cflags += -fvisibility=default

$(BUILD)/demo/bench/bench: $(bench_obj)
$(demo_bin): $(BUILD)/%: $(BUILD)/%.o $(demo_common_obj) $(library)
	$(call say,LD,$@)
	$(Q)$(CC) $(all_ldflags) -o $@ $(filter %.o,$^) $(filter %.a,$^) -Wl,--as-needed $(SQLITE_LIBS) $(URING_LIBS) -lm

-include $(shell find $(BUILD)/runtime $(BUILD)/vfs $(BUILD)/ext $(BUILD)/loadable $(BUILD)/tests $(BUILD)/demo \
  -name '*.d' 2>/dev/null)

# ---- Tests ------------------------------------------------------------------------------------------------------------

# Scripts load the extension into programs that were not built with a sanitizer: with SAN only the C programs run.
tests_here := $(test_src) $(if $(SAN),,$(test_scripts))
tests_chosen := $(if $(TESTS),$(shell set -f; for t in $(tests_here); do for p in $(TESTS); do case $$t in \
  ($$p|tests/$$p|tests/$$p/*|*/$$p|*/$$p.c|*/$$p.sh|*/$$p.py) echo $$t; break;; esac; done; done),$(tests_here))
chosen_bin = $(patsubst %.c,$(BUILD)/%,$(filter %.c,$(tests_chosen)))
# The helper programs and libraries of their folders.
chosen_helpers = $(sort $(foreach d,$(dir $(tests_chosen)),$(filter $(BUILD)/$(d)%,$(prog_bin) $(preload_so))) \
  $(if $(filter tests/demo/%,$(tests_chosen)),$(BUILD)/demo/bench/bench) \
  $(if $(filter tests/counts/%,$(tests_chosen)),$(BUILD)/demo/instructions))
run_tests = BUILD='$(BUILD)' URINGVFS_SO='$(abspath $(extension))' SAN='$(SAN)' CC='$(CC)' JOBS='$(JOBS)' \
  TEST_STALL='$(TEST_STALL)'

tests: all $(test_bin) $(prog_bin) $(preload_so) $(demo_bin) $(fuzz_src:%.c=$(BUILD)/%.o)

check: all $(chosen_bin) $(chosen_helpers)
	$(Q)$(run_tests) tests/run.sh $(chosen_bin) $(filter-out %.c,$(tests_chosen))

memcheck := $(VALGRIND) --quiet --leak-check=full --show-leak-kinds=definite,possible \
  --errors-for-leak-kinds=definite --error-exitcode=99
check-valgrind: all $(chosen_bin) $(chosen_helpers)
	$(Q)$(run_tests) WRAP='$(memcheck)' tests/run.sh $(chosen_bin)

# SQLite's own test suite and programs: all runs of tests/sqlite/campaign.txt, or SQLITE_ARGS=--ci, SQLITE_ARGS='wal*.test',
# SQLITE_ARGS='--sqlite newest', ... (tests/sqlite/run.sh -h)
check-sqlite: all
	$(Q)BUILD='$(BUILD)' JOBS='$(JOBS)' tests/sqlite/run.sh $(SQLITE_ARGS)

# The long form of the crash simulation (CRASH_IMAGES=100000 CRASH_SEED=0), and the planted bugs that it must find.
check-crash: all $(BUILD)/tests/crash/prog_crash
	$(Q)BUILD='$(BUILD)' CC='$(CC)' JOBS='$(JOBS)' tests/crash/check.sh

# Power cuts on ext4, xfs and btrfs, and the planted bugs: POWERCUT_ARGS='--seed N --images N --fs ext4,xfs,btrfs' (root only)
check-powercut: all $(filter $(BUILD)/tests/powercut/%,$(prog_bin))
	$(Q)BUILD='$(BUILD)' CC='$(CC)' tests/powercut/check.sh $(POWERCUT_ARGS) || [ $$? = 77 ]

# The long form of the model of the protocol (MODEL_SECONDS=3600 MODEL_SEED=1), and the planted bugs that it must find.
check-model: all $(BUILD)/tests/model/prog_model
	$(Q)BUILD='$(BUILD)' CC='$(CC)' tests/model/check.sh

# The planted bugs of reading ahead, which its tests must find: minutes.
check-readahead: all $(BUILD)/tests/readahead/test_readahead $(BUILD)/tests/readahead/test_unwanted
	$(Q)BUILD='$(BUILD)' CC='$(CC)' tests/readahead/plant.sh

# Fuzzing with libFuzzer, FUZZ_SECONDS=3600 in all. Built by clang whatever CC is.
fuzzers: $(fuzz_bin)
check-fuzz:
	$(Q)BUILD='$(BUILD)' JOBS='$(JOBS)' tests/fuzz/fuzz.sh $(FUZZ_ARGS)

# Hours of mixed work, kills and faults: SOAK_SECONDS=3600 SOAK_SEED=N.
soak: all
	$(Q)URINGVFS_SO='$(abspath $(extension))' SOAK_SECONDS="$${SOAK_SECONDS:-3600}" tests/soak/test_soak.py

demo: all $(demo_bin)
	$(Q)BUILD='$(BUILD)' URINGVFS_SO='$(abspath $(extension))' demo/run.sh

compare: all $(BUILD)/demo/compare
	$(Q)BUILD='$(BUILD)' demo/compare.sh $(ARGS)

bench: all $(BUILD)/demo/bench/bench
	$(Q)BUILD='$(BUILD)' demo/bench.sh $(ARGS)

instructions: $(BUILD)/demo/instructions
	$(Q)BUILD='$(BUILD)' demo/instructions.py $(ARGS)

# ---- Installing ---------------------------------------------------------------------------------------------------------

# One list: source, mode, target. Links: target -> name.
define install_list
$(extension) 755 $(LIBDIR)/sqlite3/uringvfs.so
$(shared_library) 755 $(LIBDIR)/liburingvfs.so.$(VERSION)
$(library) 644 $(LIBDIR)/liburingvfs.a
$(runtime_library) 644 $(LIBDIR)/liburingrt.a
$(BUILD)/uringvfs.pc 644 $(LIBDIR)/pkgconfig/uringvfs.pc
$(BUILD)/uringrt.pc 644 $(LIBDIR)/pkgconfig/uringrt.pc
vfs/uringvfs.h 644 $(INCLUDEDIR)/uringvfs.h
ext/uringvfs_ext.h 644 $(INCLUDEDIR)/uringvfs_ext.h
runtime/rt.h 644 $(INCLUDEDIR)/uringrt/rt.h
ext/uringvfs.7 644 $(MANDIR)/man7/uringvfs.7
endef
define install_links
liburingvfs.so.$(VERSION) $(LIBDIR)/liburingvfs.so.$(SOVERSION)
liburingvfs.so.$(SOVERSION) $(LIBDIR)/liburingvfs.so
endef
install_own_dirs = $(LIBDIR)/sqlite3 $(INCLUDEDIR)/uringrt
export install_list install_links

install: all
	$(Q)set -e; echo "$$install_list" | while read -r source mode target; do \
	  install -D -m "$$mode" "$$source" '$(DESTDIR)'"$$target"; echo "  INSTALL $(DESTDIR)$$target"; done; \
	echo "$$install_links" | while read -r target name; do \
	  ln -sf "$$target" '$(DESTDIR)'"$$name"; echo "  LINK    $(DESTDIR)$$name"; done
	$(Q)if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

uninstall:
	$(Q){ echo "$$install_list" | cut -d' ' -f3; echo "$$install_links" | cut -d' ' -f2; } | while read -r target; do \
	  rm -f '$(DESTDIR)'"$$target"; echo "  REMOVE  $(DESTDIR)$$target"; done
	$(Q)for d in $(install_own_dirs); do rmdir '$(DESTDIR)'"$$d" 2>/dev/null || :; done
	$(Q)if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

# ---- Packages ---------------------------------------------------------------------------------------------------------

packages = gcc make libc6-dev pkg-config libsqlite3-dev sqlite3 sqlite3-tools liburing-dev libcmocka-dev \
  libseccomp-dev python3 strace util-linux
# What only tests need: not for `make deps demo`.
packages += $(if $(only_demo),,$(test_packages) $(if_missing))
only_demo = $(and $(filter demo,$(MAKECMDGOALS)),$(if $(filter-out deps all demo,$(MAKECMDGOALS)),,yes))
test_packages := binutils libfuse3-dev fuse3 e2fsprogs xfsprogs btrfs-progs mount clang libclang-rt-dev g++ man-db \
  valgrind
# These cannot stand beside what there may be instead: a Node from elsewhere, another gnuplot.
if_missing = $(shell command -v node >/dev/null && command -v npm >/dev/null || echo nodejs npm; \
  command -v gnuplot >/dev/null || echo gnuplot-nox)
# `make deps DEV=1`: also what lint and check-sqlite need.
packages += $(if $(DEV),clang-format clang-tidy cppcheck dpkg-dev tcl tcl-dev zlib1g-dev)

deps:
	@command -v dpkg-query >/dev/null || { \
	  echo 'No dpkg here. Install the equivalents of these Debian packages: $(packages)' >&2; exit 1; }; \
	missing=; for p in $(packages); do \
	  [ "$$(dpkg-query -W -f='$${db:Status-Status}' "$$p" 2>/dev/null)" = installed ] || missing="$$missing $$p"; done; \
	[ -n "$$missing" ] || { echo 'deps: nothing is missing'; exit 0; }; \
	echo "deps: missing:$$missing"; \
	if [ "$$(id -u)" = 0 ]; then as_root=env; \
	elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then as_root='sudo env'; \
	else echo "Run this as root, then try again:" >&2; \
	  echo "  apt-get update && apt-get install -y --no-install-recommends$$missing" >&2; exit 1; fi; \
	$$as_root DEBIAN_FRONTEND=noninteractive apt-get update -q && \
	$$as_root DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing

# ---- Style ------------------------------------------------------------------------------------------------------------

style_files = $(sort $(wildcard $(foreach d,runtime vfs vfs/* ext demo demo/* tests tests/* tests/*/*,$(d)/*.c $(d)/*.h)))
# tests/sqlite/ is compiled within SQLite's own test programs.
tidy_files = $(filter-out tests/sqlite/%,$(filter %.c,$(style_files)))

format:
	$(Q)$(CLANG_FORMAT) -i $(style_files)

define tidy
$(call say,TIDY,$<)
$(Q)mkdir -p $(@D)
$(Q)$(CLANG_TIDY) --quiet --warnings-as-errors='*' $< -- -std=gnu11 -D_GNU_SOURCE= $(1) 2>$@.log || \
  { cat $@.log >&2; exit 1; }
@touch $@
endef

# Any header of the layers may have changed what is seen in any file.
tidy_needs = .clang-tidy $(wildcard tests/.clang-tidy runtime/*.h vfs/*.h vfs/*/*.h ext/*.h) $(needs)
$(BUILD)/lint/runtime/%.ok: runtime/%.c $(tidy_needs)
	$(call tidy,$(runtime_flags))
$(BUILD)/lint/vfs/%.ok: vfs/%.c $(tidy_needs)
	$(call tidy,$(vfs_flags))
$(BUILD)/lint/ext/%.ok: ext/%.c $(tidy_needs)
	$(call tidy,-DURINGVFS_EXTENSION $(ext_flags))
$(BUILD)/lint/tests/%_fuse.ok $(BUILD)/lint/tests/%faultfs.ok: test_flags += $(FUSE_CFLAGS)
$(BUILD)/lint/tests/%.ok: tests/%.c $(tidy_needs)
	$(call tidy,$(test_flags))
$(BUILD)/lint/demo/%.ok: demo/%.c $(tidy_needs) $(wildcard demo/*/*.h)
	$(call tidy,-Idemo $(test_flags))

lint-sources:
	@for layer in 'runtime $(runtime_src)' 'vfs $(vfs_src)' 'ext $(ext_src)' 'tests $(tests_all_c)'; do \
	  case "$$layer" in *.c*) ;; *) echo "lint: no source file in $$layer/: nothing would be checked" >&2; exit 1;; esac; done
lint-format: lint-sources
	$(call say,FORMAT,$(words $(style_files)) files)
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(style_files)
lint-cppcheck: lint-sources
	$(Q)command -v $(CPPCHECK) >/dev/null || { echo 'lint: no cppcheck here, left out'; exit 0; }; \
	echo '  CHECK   runtime vfs ext'; $(CPPCHECK) --quiet --error-exitcode=1 --inline-suppr --std=c11 -j $(JOBS) \
	  --enable=warning,portability --suppress=missingInclude -U__has_include $(runtime_src) $(vfs_src) $(ext_src)
# Comments too, which clang-format leaves as they are.
lint-lines: lint-sources
	$(Q)awk 'length > 120 { print "lint: " FILENAME ":" FNR ": longer than 120 columns"; n++ } END { exit n > 0 }' \
	  $(style_files)
# What vfs/uringvfs.h does not declare is internal, and says so by two underscores.
names_files = $(filter-out vfs/uringvfs.h,$(wildcard vfs/*.[ch] vfs/*/*.[ch]))
public_names := uringvfs_register URINGVFS_API URINGVFS_VERSION URINGVFS_EXTENSION URINGVFS_VERIFY_READAHEAD \
  URINGVFS_DEFAULT_BACKEND URINGVFS_[A-Z_]*_H
lint-names: lint-sources
	$(Q)! grep -noE '\b(uringvfs|URINGVFS)_[A-Za-z0-9][A-Za-z0-9_]*' $(names_files) /dev/null | \
	  grep -vE ':($(subst $() ,|,$(strip $(public_names))))$$' | sed 's/^/lint: not a public name: /' | grep .
lint: lint-format lint-lines lint-names lint-cppcheck $(tidy_files:%.c=$(BUILD)/lint/%.ok)
.PHONY: lint-sources lint-format lint-lines lint-names lint-cppcheck

clean:
	rm -rf build $(if $(filter-out build build/%,$(BUILD)),'$(BUILD)')

help:
	@echo 'make deps             install the Debian packages that are missing (DEV=1: those of lint too)'
	@echo 'make [all]            build/uringvfs.so, build/liburingvfs.a and .so, build/liburingrt.a'
	@echo 'make check            build and run the tests (TESTS="pattern ...", JOBS=2, TEST_STALL=120)'
	@echo 'make check-valgrind   the C tests under valgrind'
	@echo "make check-sqlite     SQLite's own tests on uring, compared with the default VFS (hours; SQLITE_ARGS=--ci: a part)"
	@echo 'make check-crash      power cuts at every point of recorded workloads (CRASH_IMAGES=100000), and planted bugs'
	@echo 'make check-powercut   power cuts on ext4, xfs and btrfs (root; POWERCUT_ARGS="--images N --fs ext4"), and planted bugs'
	@echo 'make check-model      events of the protocol in every order, both VFSs side by side (MODEL_SECONDS=3600), and planted bugs'
	@echo 'make check-readahead  planted bugs of reading ahead: stale pages, foreign ones, unwanted ones'
	@echo 'make check-fuzz       fuzzing with libFuzzer (FUZZ_SECONDS=3600 in all, FUZZ_ARGS=calls: one target)'
	@echo 'make soak             mixed work of both VFSs with kills and faults (SOAK_SECONDS=3600)'
	@echo 'make demo             store real files through both VFSs and compare'
	@echo 'make compare          single operations on both VFSs: reads, commits, open and close (ARGS=--help)'
	@echo 'make bench            whole workloads, cold and warm, on several VFSs beside the limit of the device (ARGS=--help)'
	@echo 'make instructions     instructions and system calls that the VFS adds to reads in memory (ARGS=--help)'
	@echo 'make install          to PREFIX (/usr/local) below DESTDIR; make uninstall removes the same files'
	@echo 'make format | lint    clang-format in place | clang-format, clang-tidy and cppcheck as a check'
	@echo 'make clean            remove build/'
	@echo 'Variables: CC CFLAGS LDFLAGS BUILD PREFIX DESTDIR, V=1 (show commands), WERROR=1 (warnings are errors),'
	@echo '           SAN=address,undefined or SAN=thread (in a build directory of its own; check runs the C programs)'

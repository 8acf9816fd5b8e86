# fixture.mk - builds SQLite's test programs as its own Makefile does, but one object file for each source.
#
# Run in a directory where SQLite's configure has put its Makefile. That Makefile compiles and links each test program
# in one command; here the objects are kept, so that a changed VFS costs only a link.
#
#   URINGVFS_OBJS   what makes the VFS: init.o, register.o and the library
#   SYNC_COUNT      sync_count.o, for testfixture
#   URINGVFS_LIBS   the libraries that it needs
#   MORE_FLAGS      last words to the compiler: the options of a build, and -O1 (configure --enable-debug says -O0, which
#                   takes too long to run)
include Makefile

# SQLite's Makefile was written anew for 3.48 (autosetup in the place of autoconf), with other names.
ifdef T.cc.sqlite
sqlite_cc = $(T.cc.sqlite)
sqlite_libs = $(LDFLAGS.libsqlite3)
tcl_script := $(T.tcl.env.sh)
tcl_env = $(T.tcl.env.source);
tcl_flags = $$TCL_INCLUDE_SPEC
tcl_libs = $$TCL_LIB_SPEC $$TCL_LIBS
else
sqlite_cc = $(TCC)
sqlite_libs = $(TLIBS)
tcl_libs = $(LIBTCL)
endif

comma := ,
extra_init := -DSQLITE_EXTRA_INIT=uringvfs_check_init
compile = @mkdir -p $(@D); echo '  CC      $(notdir $<)'; $(2) $(sqlite_cc) $(1) $(extra_init) $(MORE_FLAGS) -w -c -o $@ $<
link = @echo '  LD      $@'; $(2) $(CC) $(CFLAGS) -o $@ $(filter %.o %.a,$^) $(1) $(sqlite_libs) $(URINGVFS_LIBS) -lpthread -ldl
objects = $(addprefix $(1)/,$(addsuffix .o,$(basename $(notdir $(2)))))

.DEFAULT_GOAL := programs
programs: testfixture-uring sqlite3-uring fuzzcheck-uring kvtest-uring mptester-uring

# testfixture: the sources and flags of its rule in SQLite's Makefile.
fixture_obj := $(call objects,fixture,$(TESTFIXTURE_SRC))
ifneq ($(words $(fixture_obj)),$(words $(sort $(fixture_obj))))
$(error two sources of testfixture have one name)
endif
vpath %.c $(sort $(dir $(TESTFIXTURE_SRC) $(FUZZCHECK_SRC)) $(TOP)/test $(TOP)/mptest)
$(fixture_obj): fixture/%.o: %.c sqlite3.c sqlite3.h $(tcl_script)
	$(call compile,-DSQLITE_NO_SYNC=1 $(TEMP_STORE) $(TESTFIXTURE_FLAGS) $(tcl_flags),$(tcl_env))
testfixture-uring: $(fixture_obj) $(SYNC_COUNT) $(URINGVFS_OBJS)
	$(call link,$(tcl_libs) -Wl$(comma)--wrap=uringvfs__sync -Wl$(comma)--wrap=uringvfs__write_group,$(tcl_env))

# fuzzcheck: an SQLite with limits that would be in the way of the others.
fuzz_obj := $(sort $(call objects,fuzz,$(FUZZCHECK_SRC) sqlite3.c))
$(fuzz_obj): fuzz/%.o: %.c sqlite3.c sqlite3.h
	$(call compile,$(FUZZCHECK_OPT))
fuzzcheck-uring: $(fuzz_obj) $(URINGVFS_OBJS)
	$(call link)

# The others share one SQLite, which really syncs.
plain_obj := $(call objects,plain,sqlite3.c shell.c kvtest.c mptest.c)
$(plain_obj): plain/%.o: %.c sqlite3.c sqlite3.h
	$(call compile,$(SHELL_OPT))
sqlite3-uring: plain/shell.o plain/sqlite3.o $(URINGVFS_OBJS)
kvtest-uring: plain/kvtest.o plain/sqlite3.o $(URINGVFS_OBJS)
mptester-uring: plain/mptest.o plain/sqlite3.o $(URINGVFS_OBJS)
sqlite3-uring kvtest-uring mptester-uring:
	$(call link)

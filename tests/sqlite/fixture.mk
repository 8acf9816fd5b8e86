# fixture.mk - builds SQLite's test programs as its own Makefile does, but one object file for each source.
#
# Run in a directory where SQLite's configure has put its Makefile. That Makefile compiles and links each test program
# in one command; here the objects are kept, so that a changed VFS costs only a link.
#
#   URINGVFS_OBJS   what makes the VFS: init.o, register.o and the library
#   SYNC_COUNT      sync_count.o, for testfixture
#   URINGVFS_LIBS   the libraries that it needs
#   MORE_FLAGS      last word to the compiler (configure --enable-debug says -O0, which takes too long to run)
include Makefile

comma := ,
extra_init := -DSQLITE_EXTRA_INIT=uringvfs_check_init
compile = @mkdir -p $(@D); echo '  CC      $(notdir $<)'; $(TCC) $(1) $(extra_init) $(MORE_FLAGS) -w -c -o $@ $<
link = @echo '  LD      $@'; $(CC) $(CFLAGS) -o $@ $^ $(1) $(TLIBS) $(URINGVFS_LIBS) -lpthread -ldl
objects = $(addprefix $(1)/,$(addsuffix .o,$(basename $(notdir $(2)))))

.DEFAULT_GOAL := programs
programs: testfixture-uring sqlite3-uring fuzzcheck-uring kvtest-uring mptester-uring

# testfixture: the sources and flags of its rule in SQLite's Makefile.
fixture_obj := $(call objects,fixture,$(TESTFIXTURE_SRC))
ifneq ($(words $(fixture_obj)),$(words $(sort $(fixture_obj))))
$(error two sources of testfixture have one name)
endif
vpath %.c $(sort $(dir $(TESTFIXTURE_SRC) $(FUZZCHECK_SRC)) $(TOP)/test $(TOP)/mptest)
$(fixture_obj): fixture/%.o: %.c sqlite3.c sqlite3.h
	$(call compile,-DSQLITE_NO_SYNC=1 $(TEMP_STORE) $(TESTFIXTURE_FLAGS))
testfixture-uring: $(fixture_obj) $(SYNC_COUNT) $(URINGVFS_OBJS)
	$(call link,$(LIBTCL) -Wl$(comma)--wrap=uringvfs__sync -Wl$(comma)--wrap=uringvfs__write_group)

# fuzzcheck: an SQLite with limits that would be in the way of the others.
fuzz_obj := $(call objects,fuzz,$(FUZZCHECK_SRC) sqlite3.c)
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

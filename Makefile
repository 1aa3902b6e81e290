# sepbench: is a depthwise-separable convolution really faster on this CPU? `make help` lists the targets.
#
# One non-recursive makefile. Sources are found by folder; folders in PER_ISA and those in them are compiled once per
# instruction set (ISAS), each copy under its own symbol names (kernels/isa.h).

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-print-directory

# Several goals are made in their order, each by a make of its own, which sees what the one before brought:
# `make setup bench` finds the compiler and the peers that setup installed.
ifneq ($(word 2,$(MAKECMDGOALS)),)
.NOTPARALLEL:
.PHONY: $(MAKECMDGOALS)
$(MAKECMDGOALS):
	+@$(MAKE) $@
else

ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif

# ---- what the user may set ----------------------------------------------------------------------------------
ifeq ($(origin CC),default)
CC = gcc
endif
ifeq ($(origin CXX),default)
CXX = $(if $(findstring clang,$(CC)),clang++,g++)
endif
PREFIX ?= /usr/local
MPI ?= # training and fleets on several machines (harness/ranks): 1, or which MPI, as pkg-config knows it (mpich)
SANITIZE ?=
WERROR ?= $(CI)
BUILD ?= build$(if $(SANITIZE),-sanitize)
ARGS ?=
INJECT ?= # a fault on purpose (kernels/inject/inject.h), to see the regression gate find it
V ?= # V=1 prints whole commands

# Goals that compile nothing ask neither compiler nor libraries: there may be none yet.
COMPILES := $(filter-out setup clean help format lint-format,$(or $(MAKECMDGOALS),build))

# ---- the two lists --------------------------------------------------------------------------------------------
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
ifneq ($(filter x86_64%,$(MACHINE)),)
ISAS := avx512 avx2 base
endif
ISAS ?= base

FLAGS_base   :=
FLAGS_avx2   := -march=x86-64-v3
FLAGS_avx512 := -march=x86-64-v4 -mprefer-vector-width=512

# What takes longest to compile comes first, here as in ISAS: at the end every core still has work.
PER_ISA := kernels/simd kernels/im2col kernels/tiled kernels/nn kernels/peak
ISAS_kernels/simd := $(filter-out base,$(ISAS))
ISAS_kernels/simd/fip := $(filter avx512,$(ISAS))
ISAS_kernels/simd/tflike := $(filter avx2,$(ISAS))
ONCE := kernels $(filter-out $(PER_ISA) kernels/peers $(if $(strip $(INJECT)),,kernels/inject),\
    $(patsubst %/,%,$(wildcard kernels/*/))) \
    kernels/peers/onednn harness $(patsubst %/,%,$(wildcard harness/*/)) bench

# ---- peers that are linked: each optional, each found by its probe (kernels/peers/probe.sh) -------------------------
# A peer: its Debian package, the header that proves it, ours that knows its interface, and how to compile and link.
# oneDNN, ONNX Runtime and TensorFlow are opened at run time (kernels/peers/engine.h), so their peers are always built.
WITH_PEERS ?= openblas xnnpack

comma := ,
OPENBLAS_DIR := $(firstword $(wildcard /usr/lib/*/openblas-openmp))
PEER_openblas := libopenblas-openmp-dev cblas.h cblas.h
INC_openblas := -I$(or $(firstword $(wildcard /usr/include/*/openblas-openmp)),/usr/include/openblas-openmp)
LIBS_openblas := $(addprefix -L,$(OPENBLAS_DIR)) $(addprefix -Wl$(comma)-rpath$(comma),$(OPENBLAS_DIR)) -lopenblas

PEER_xnnpack := libxnnpack-dev xnnpack.h kernels/peers/xnnpack_api.h
LIBS_xnnpack := -lXNNPACK -lpthreadpool

# "yes", or why not in words.
probe = $(shell sh kernels/peers/probe.sh '$(CC)' $(PEER_$(1)) '$(INC_$(1))' '$(LIBS_$(1))')
ALL_PEERS := openblas xnnpack
ifneq ($(COMPILES),)
$(foreach p,$(ALL_PEERS),$(eval PROBE_$(p) := $(if $(filter $(p),$(WITH_PEERS)),$(call probe,$(p)),left out by WITH_PEERS)))
endif
FOUND := $(foreach p,$(ALL_PEERS),$(if $(filter yes,$(PROBE_$(p))),$(p)))
ABSENT := $(foreach p,$(filter-out $(FOUND),$(ALL_PEERS)),$(p): $(PROBE_$(p));)
PEER_SOURCES := $(wildcard $(patsubst %,kernels/peers/%*.c,$(FOUND) engine onnxruntime tensorflow))
$(BUILD)/kernels/registry.o: CPPFLAGS += -DPEERS_ABSENT='"$(ABSENT)"'
$(foreach p,$(FOUND),$(eval $(BUILD)/kernels/peers/$(p)%o: CPPFLAGS += $(INC_$(p))))

# ---- MPI, when MPI=1: a shared object beside the program, which alone knows it (harness/ranks/driver.h) -------------
ifneq ($(strip $(MPI)),)
MPI_NAMES := $(if $(filter 1,$(MPI)),ompi-c mpich,$(strip $(MPI)))
MPI_PACKAGE := $(shell for p in $(MPI_NAMES); do pkg-config --exists $$p 2>/dev/null && { echo $$p; break; }; done)
MPI_CC := $(if $(MPI_PACKAGE),$(CC),$(if $(filter 1,$(MPI)),$(shell command -v mpicc 2>/dev/null)))
MPI_FLAGS := $(if $(MPI_PACKAGE),$(shell pkg-config --cflags --libs $(MPI_PACKAGE)))
ifneq ($(COMPILES),)
$(if $(MPI_CC),,$(error sepbench: MPI=$(strip $(MPI)): pkg-config knows no $(subst $() , or ,$(MPI_NAMES))$(if \
    $(filter 1,$(MPI)), and there is no mpicc); 'make setup MPI=1' installs an MPI))
endif
MPI_OBJECT := $(BUILD)/sepbench-mpi.so
endif

# ---- ONNX files, optional: protobuf-c makes the code of its messages from the schema ---------------------------
ONNX := $(if $(COMPILES),$(if $(shell pkg-config --exists libprotobuf-c && command -v protoc-c),onnx))
ONNX_BUILD := $(BUILD)/harness/network/onnx
ONNX_SOURCES := $(if $(ONNX),$(wildcard harness/network/onnx/*.c),harness/network/onnx_absent.c)

# ---- flags --------------------------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wpedantic $(if $(WERROR),-Werror)
SAN := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
# -g1: functions and lines. Of variables, which -O3 leaves little of, the register tiles have so many that -g doubles
# the time to compile them.
OPT := $(if $(SANITIZE),-O1,-O3) -g1
# No errno from sqrtf and no trapping semantics: lets loops vectorise without changing any result.
MATH := -fno-math-errno -fno-trapping-math -ffp-contract=fast
# Debian's name of the HDF5 without MPI, and everybody's.
HDF5 := $(shell pkg-config --exists hdf5-serial 2>/dev/null && echo hdf5-serial || echo hdf5)
PACKAGES := hwloc jansson zlib libzip $(HDF5) $(if $(ONNX),libprotobuf-c)
CFLAGS ?=
export BASE_CC := $(CC)
export BASE_CXX := $(CXX)
export BASE_CFLAGS := $(CFLAGS)
override CFLAGS += -std=gnu17 $(OPT) $(WARN) $(MATH) $(SAN) -fopenmp -pthread -D_GNU_SOURCE $(DEFINES)
override CXXFLAGS += -std=gnu++17 $(OPT) $(WARN) $(SAN)
CPPFLAGS += -MMD -MP $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
$(BUILD)/bench/gbench.o: CPPFLAGS += -DGBENCH_VERSION='"$(shell pkg-config --modversion benchmark 2>/dev/null)"'
$(BUILD)/harness/machine/json.o: CPPFLAGS += -DISA_FLAGS='"$(ISA_FLAGS)"'
LDLIBS = $(foreach p,$(FOUND),$(LIBS_$(p))) $(shell pkg-config --libs $(PACKAGES) benchmark 2>/dev/null) -lm
LDFLAGS += -fopenmp -pthread $(SAN)

# ---- objects --------------------------------------------------------------------------------------------------------
# Of a folder in PER_ISA: its instruction sets, and the objects of its sources for one of them, subfolders included.
isas = $(if $(filter undefined,$(origin ISAS_$(1))),$(ISAS),$(ISAS_$(1)))
parts = $(patsubst %.c,$(BUILD)/%.$(2).o,$(wildcard $(addsuffix /*.c,\
    $(foreach d,$(1) $(patsubst %/,%,$(wildcard $(1)/*/)),$(if $(filter $(2),$(call isas,$(d))),$(d))))))
PARTS := $(foreach d,$(PER_ISA),$(foreach i,$(call isas,$(d)),$(call parts,$(d),$(i))))
COPIES := $(foreach d,$(PER_ISA),$(foreach i,$(filter-out base,$(call isas,$(d))),$(BUILD)/$(d).$(i).o))
ONCE_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,\
    $(filter-out harness/network/onnx_absent.c,$(foreach d,$(ONCE),$(wildcard $(d)/*.c))) $(PEER_SOURCES) \
    $(ONNX_SOURCES))
CXX_OBJECTS := $(patsubst %.cc,$(BUILD)/%.o,$(wildcard bench/*.cc))
# Data files that travel inside the program (harness/embed.h).
EMBED := $(sort $(wildcard bench/problems/*.txt bench/models/*.json reports/*.gp reports/*.html reports/*.css))
OBJECTS := $(COPIES) $(CXX_OBJECTS) $(ONCE_OBJECTS) $(filter %.base.o,$(PARTS)) $(BUILD)/embed.o \
    $(if $(ONNX),$(ONNX_BUILD)/onnx.pb-c.o)
MAIN := $(BUILD)/bench/main.o
TESTS := $(patsubst tests/test_%.c,$(BUILD)/tests/test_%,$(wildcard tests/test_*.c))
TEST_HELPERS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out tests/test_%.c,$(wildcard tests/*.c)) tests/fuzz/targets.c)
FUZZERS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/fuzz/*.c))

# One short line per file unless V=1.
say = $(if $(strip $(V)),,@echo '  $(1)' $@;)

# ---- targets -----------------------------------------------------------------------------------------------------------
.PHONY: setup need build test fuzz bench train report regress trend advise install format lint lint-format clean help

build: $(BUILD)/sepbench $(MPI_OBJECT) ## compile build/sepbench; INJECT= breaks it on purpose (kernels/inject/inject.h)

$(BUILD)/sepbench: $(OBJECTS)
	$(call say,link   )$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The compiler flags and peers decide every object: a change of either rebuilds.
STAMP := $(BUILD)/.flags
DECIDES := $(CC) $(CFLAGS) $(foreach p,$(FOUND),$(p) $(INC_$(p))) $(ABSENT) $(ONNX)
$(if $(COMPILES),$(shell mkdir -p $(BUILD); echo '$(DECIDES)' | cmp -s - $(STAMP) || echo '$(DECIDES)' > $(STAMP)))

# mpicc of either MPI takes the compiler from the environment.
MPI_STAMP := $(BUILD)/.mpi
$(if $(and $(COMPILES),$(MPI_OBJECT)),$(shell echo '$(MPI_CC) $(MPI_FLAGS)' | cmp -s - $(MPI_STAMP) || \
    echo '$(MPI_CC) $(MPI_FLAGS)' > $(MPI_STAMP)))
$(BUILD)/sepbench-mpi.so: harness/ranks/mpi/mpi.c harness/ranks/driver.h $(STAMP) $(MPI_STAMP)
	@mkdir -p $(@D)
	$(call say,link   )OMPI_CC='$(CC)' MPICH_CC='$(CC)' $(MPI_CC) -shared -fPIC $(CFLAGS) -o $@ $< $(MPI_FLAGS)

# The commit goes into one small object, so that a commit does not rebuild the rest.
ISA_FLAGS := $(strip $(foreach i,$(ISAS),$(i): $(or $(FLAGS_$(i)),none);))
$(if $(COMPILES),$(shell sh harness/build_info.sh $(BUILD)/build_info.inc '$(CC)' '$(CFLAGS)' '$(ISA_FLAGS)' '$(strip $(INJECT))'))
$(BUILD)/harness/build_info.o: CPPFLAGS += -I$(BUILD)
$(BUILD)/harness/build_info.o: $(BUILD)/build_info.inc

# An injected fault reaches two objects.
INJECTED := $(BUILD)/kernels/conv.o $(BUILD)/kernels/inject/inject.o
$(if $(COMPILES),$(shell echo '$(strip $(INJECT))' | cmp -s - $(BUILD)/.inject || echo '$(strip $(INJECT))' > $(BUILD)/.inject))
$(INJECTED): $(BUILD)/.inject
ifneq ($(strip $(INJECT)),)
$(INJECTED): CPPFLAGS += -DINJECT='"$(strip $(INJECT))"'
endif

# Inputs do not reach the kernels, and those take many minutes with all that a fuzzer wants.
ifneq ($(findstring fuzzer,$(SANITIZE)),)
$(PARTS) $(BUILD)/kernels/peers/%.o: SAN :=
WARN += -Wno-pass-failed
endif

# The gate's control kernel must never change, neither in source nor in flags.
$(BUILD)/harness/compare/control.o: override CFLAGS += -O1

# Where a header is missing, say which packages, not the compiler's first error.
need:
	@CC='$(CC)' sh harness/setup.sh check

$(OBJECTS) $(PARTS) $(TEST_HELPERS) $(FUZZERS): $(STAMP) | need
$(sort $(ONCE_OBJECTS) $(TEST_HELPERS) $(FUZZERS)): $(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,compile)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
$(CXX_OBJECTS): $(BUILD)/%.o: %.cc
	@mkdir -p $(@D)
	$(call say,compile)$(CXX) $(CPPFLAGS) $(CXXFLAGS) -c -o $@ $<

$(BUILD)/embed.c: $(EMBED) harness/embed.sh
	$(call say,embed  )sh harness/embed.sh $(EMBED) > $@
$(BUILD)/embed.o: $(BUILD)/embed.c
	$(call say,compile)$(CC) $(CPPFLAGS) $(CFLAGS) -I. -c -o $@ $<

# Its header is made with it. Newer releases call this spelling of protoc-c's old, every time.
$(ONNX_BUILD)/onnx.pb-c.c: harness/network/onnx/onnx.proto
	@mkdir -p $(@D)
	$(call say,schema )protoc-c --c_out=$(@D) -I$(<D) $< 2>$@.log || { cat $@.log >&2; false; }
$(ONNX_BUILD)/onnx.pb-c.o: $(ONNX_BUILD)/onnx.pb-c.c $(STAMP)
	$(call say,compile)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
ONNX_USERS := $(if $(ONNX),$(ONNX_SOURCES:%.c=$(BUILD)/%.o) $(BUILD)/tests/test_onnx)
$(ONNX_USERS): CPPFLAGS += -I$(ONNX_BUILD)
$(ONNX_USERS): $(ONNX_BUILD)/onnx.pb-c.c

define per_isa
$(BUILD)/%.$(1).o: %.c
	@mkdir -p $$(@D)
	$$(call say,compile)$$(CC) $$(CPPFLAGS) $$(CFLAGS) -fno-lto $(FLAGS_$(1)) -DISA=$(1) -c -o $$@ $$<
endef
$(foreach i,$(ISAS),$(eval $(call per_isa,$(i))))

# A folder's copy is one object. What it defines gets the instruction set's name; weak and common symbols, which the
# linker merges by name (sanitizers have some), keep theirs. That needs machine code, hence no LTO in these folders.
define copy
$(BUILD)/$(1).$(2).o: $(call parts,$(1),$(2))
	$$(call say,copy   )$$(CC) -nostdlib -r -o $$@.plain $$(filter %.o,$$^) && \
	    nm -g --defined-only $$@.plain | awk '$$$$2 ~ /[TDRB]/ { print $$$$3, $$$$3 "_$(2)" }' > $$@.names && \
	    objcopy --redefine-syms=$$@.names $$@.plain $$@
endef
$(foreach d,$(PER_ISA),$(foreach i,$(filter-out base,$(call isas,$(d))),$(eval $(call copy,$(d),$(i)))))

# Its contests are held in simulated time.
$(BUILD)/tests/test_contest: LDFLAGS += -Wl,--wrap=machine_now

$(BUILD)/tests/test_%: tests/test_%.c $(TEST_HELPERS) $(filter-out $(MAIN),$(OBJECTS)) $(STAMP)
	@mkdir -p $(@D)
	$(call say,compile)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@.o $<
	$(call say,link   )$(CXX) $(LDFLAGS) -o $@ $@.o $(filter %.o,$^) $(LDLIBS) -lcmocka

$(BUILD)/fuzz: $(FUZZERS) $(filter-out $(MAIN),$(OBJECTS))
	$(call say,link   )$(CXX) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

-include $(OBJECTS:.o=.d) $(PARTS:.o=.d) $(sort $(TEST_HELPERS:.o=.d) $(FUZZERS:.o=.d)) $(TESTS:=.d)

SEPBENCH := $(BUILD)/sepbench

setup: ## install what is missing (sudo when not root), fetch MNIST; FASHION=1: Fashion-MNIST; MPI=1: Open MPI; ENGINES=1 (or a folder): TensorFlow, ONNX Runtime
	ENGINES='$(ENGINES)' MPI='$(strip $(MPI))' FASHION='$(FASHION)' sh harness/setup.sh install

# Every test program runs even after one failed; the last line counts them.
test: build $(TESTS) ## all tests; SANITIZE=address,undefined for a checked build
	@sh tests/run.sh $(SEPBENCH) $(TESTS)

# clang's libFuzzer (Debian: clang, libclang-rt-dev). SECONDS: how long each target is fuzzed; without it they are built.
fuzz: ## build the fuzz targets with clang; SECONDS=10 runs each for as long
	@$(MAKE) CC=clang CXX=clang++ SANITIZE=fuzzer-no-link,address,undefined BUILD=build-fuzz build-fuzz/fuzz
	$(if $(SECONDS),@sh tests/fuzz/run.sh build-fuzz/fuzz $(SECONDS))

# The question itself when QUICK: dense against separable, forward and backward; a network only is one with all variants.
BENCH_ARGS = --suite $(or $(SUITE),sweep) --budget $(or $(BUDGET),$(if $(QUICK),30,245)) $(if $(IMPL),--impl $(IMPL)) \
    $(if $(QUICK),$(if $(SUITE),,--variant dense$(comma)separable) --pass forward$(comma)backward) $(ARGS)
TRAIN_EPOCHS ?= $(if $(or $(QUICK),$(SUITE)),0,6)
MNIST := data/mnist/train-images-idx3-ubyte
comma := ,

# A wrong result (exit 3) is reported like any other before make fails with it.
bench: build ## measure, train six epochs, report: SUITE= IMPL= BUDGET=245 QUICK=1
	@status=0; $(SEPBENCH) bench $(BENCH_ARGS) || status=$$?; \
	[ $$status = 0 ] || [ $$status = 3 ] || exit $$status; \
	if [ $(TRAIN_EPOCHS) = 0 ]; then :; \
	elif [ -e $(MNIST) ]; then $(SEPBENCH) train --model conv,separable --epochs $(TRAIN_EPOCHS) --resume --out results/latest/training; \
	else echo "sepbench: no MNIST in data/mnist ('make setup' fetches it): training not measured"; fi && \
	$(SEPBENCH) report && exit $$status

# The folder of a whole experiment; naming one that exists continues it.
TRAIN_OUT ?= results/training-$(shell date -u +%Y%m%dT%H%M%SZ)

train: TRAIN_OUT := $(TRAIN_OUT)
# Others before and after: in the minutes between, a shared machine drifts by more than what is compared.
TRAIN_ON = --model $(or $(MODEL),conv$(comma)separable) $(if $(DATA),--data $(DATA))
OTHERS = $(if $(PEERS),@sh bench/peers/train.sh $(TRAIN_OUT) $(TRAIN_ON))
train: build ## the article's experiment, both networks 5 times: MODEL= DATA= RUNS= IMPL= PEERS=1 (Keras and PyTorch too; PYTHON=) ARGS=
	$(OTHERS)
	$(SEPBENCH) train $(TRAIN_ON) --runs $(or $(RUNS),5) $(if $(IMPL),--impl $(IMPL)) --resume \
	    --out $(TRAIN_OUT) $(ARGS)
	$(OTHERS)
	$(SEPBENCH) report $(TRAIN_OUT)

report: build ## remake the report of the newest run, or of RUN=
	$(SEPBENCH) report $(RUN)

regress: build ## is the working tree slower than BASE= (default: the merge base with main)? SUITE= BUDGET= ARGS=
	@sh harness/compare/regress.sh '$(SEPBENCH)' '$(BASE)' $(if $(SUITE),--suite '$(SUITE)') $(if $(BUDGET),--budget '$(BUDGET)') \
	    $(if $(IMPL),--impl '$(IMPL)') $(ARGS)

trend: build ## did anything become slower over the stored runs, of RUN= (default: results)? ARGS=
	$(SEPBENCH) trend $(RUN) $(ARGS)

# As bench, a wrong result is reported before make fails with it.
advise: build ## which layers of a Keras model gain in their other form: MODEL=model.json BUDGET= TRAIN=1 ARGS=
	$(if $(MODEL),,$(error make advise: MODEL= names a model as Keras writes it))
	@status=0; $(SEPBENCH) advise '$(MODEL)' $(if $(BUDGET),--budget $(BUDGET)) $(if $(TRAIN),--train) $(ARGS) || status=$$?; \
	[ $$status = 0 ] || [ $$status = 3 ] || exit $$status; $(SEPBENCH) report && exit $$status

install: build ## into PREFIX (default /usr/local)
	install -D -m 755 $(SEPBENCH) $(DESTDIR)$(PREFIX)/bin/sepbench
	$(if $(MPI_OBJECT),install -D -m 755 $(MPI_OBJECT) $(DESTDIR)$(PREFIX)/lib/sepbench/sepbench-mpi.so)

format: ## clang-format every source
	clang-format -i $(shell git ls-files '*.c' '*.h' '*.cc')

lint-format: # what CI checks
	@clang-format --dry-run -Werror $(shell git ls-files '*.c' '*.h' '*.cc')

lint: lint-format $(if $(ONNX),$(ONNX_BUILD)/onnx.pb-c.c) ## clang-format and clang-tidy, changing nothing
	clang-tidy --quiet $(filter-out $(if $(ONNX),,harness/network/onnx/%) \
	    $(foreach p,$(filter-out $(FOUND),$(ALL_PEERS)),kernels/peers/$(p)%),$(shell git ls-files '*.c')) \
	    -- -std=gnu17 -fopenmp -D_GNU_SOURCE -DISA=avx2 $(FLAGS_avx2) $(CPPFLAGS) -I$(ONNX_BUILD) $(foreach p,$(FOUND),$(INC_$(p)))

clean: ## remove what was built; ENGINES=1: build/engines too, which takes minutes to fetch again
	rm -rf build-* $(if $(ENGINES),build)
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name engines -exec rm -rf {} +
	@[ ! -d build ] || rmdir --ignore-fail-on-non-empty build

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

endif # one goal

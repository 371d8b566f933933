/* A libnvidia-ml.so.1 for tests: what it answers stands in the text file that STUB_NVML names, one fact a line:
 *
 *   init CODE                                      what nvmlInit returns (0: well)
 *   driver VERSION
 *   cuda NUMBER                                    12020 for 12.2
 *   gpu UUID MIB MAJOR MINOR CORES FAULT MIG NAME  FAULT: what asking for its name returns; MIG: 1 if the mode is on
 *   instance GPU UUID MIB NAME                     a MIG instance of that GPU
 *   hang                                           nvmlInit never returns
 *   crash                                          nvmlInit dies of SIGSEGV
 *
 * Compiled with -DANCIENT it lacks what drivers of before 2018 lack, with -DOLD what those of before 2020 lack.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, MOST = 16 };

typedef struct {
    char uuid[96], name[96];
    unsigned long long mib;
    int major, minor, fault, mig, parent;
    unsigned cores;
} Device;

typedef struct { unsigned long long total, free, used; } Memory;

static Device gpus[MOST], instances[MOST];
static int gpu_count, instance_count, init_code, cuda = 12020;
static char driver[80] = "535.104.05";

static void take(const char *line) {
    Device d = {0};
    if (sscanf(line, "init %d", &init_code) == 1 || sscanf(line, "driver %79s", driver) == 1) return;
    if (sscanf(line, "cuda %d", &cuda) == 1) return;
    if (!strncmp(line, "hang", 4)) for (;;) pause();
    if (!strncmp(line, "crash", 5)) raise(SIGSEGV);
    if (sscanf(line, "gpu %95s %llu %d %d %u %d %d %95[^\n]", d.uuid, &d.mib, &d.major, &d.minor, &d.cores,
               &d.fault, &d.mig, d.name) == 8)
        gpus[gpu_count++] = d;
    if (sscanf(line, "instance %d %95s %llu %95[^\n]", &d.parent, d.uuid, &d.mib, d.name) == 4)
        instances[instance_count++] = d;
}

static int start(void) {
    char line[512];
    FILE *facts = fopen(getenv("STUB_NVML") ? getenv("STUB_NVML") : "", "r");
    if (!facts) return 9;
    while (fgets(line, sizeof line, facts)) take(line);
    fclose(facts);
    return init_code;
}

static int copy(char *to, unsigned size, const char *from) {
    if (strlen(from) >= size) return INSUFFICIENT_SIZE;
    strcpy(to, from);
    return OK;
}

#ifndef ANCIENT
int nvmlInitWithFlags(unsigned flags) { (void)flags; return start(); }
#endif
int nvmlInit_v2(void) { return start(); }
int nvmlShutdown(void) { return OK; }

const char *nvmlErrorString(int code) {
    static char text[40];
    snprintf(text, sizeof text, "stub error %d", code);
    return text;
}

int nvmlSystemGetDriverVersion(char *to, unsigned size) { return copy(to, size, driver); }
int nvmlSystemGetCudaDriverVersion(int *version) { *version = cuda; return OK; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = gpu_count; return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    if ((int)index >= gpu_count) return NOT_FOUND;
    *device = &gpus[index];
    return OK;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Device **device) {
    for (int n = 0; n < gpu_count; n++)
        if (!strcmp(gpus[n].uuid, uuid)) {
            *device = &gpus[n];
            return OK;
        }
    return NOT_FOUND;
}

int nvmlDeviceGetMinorNumber(Device *d, unsigned *minor) { *minor = d - gpus; return OK; }

int nvmlDeviceGetName(Device *d, char *to, unsigned size) { return d->fault ? d->fault : copy(to, size, d->name); }
int nvmlDeviceGetUUID(Device *d, char *to, unsigned size) { return d->fault ? d->fault : copy(to, size, d->uuid); }

int nvmlDeviceGetMemoryInfo(Device *d, Memory *memory) {
    memory->total = memory->free = d->mib << 20;
    memory->used = 0;
    return d->fault;
}

int nvmlDeviceGetCudaComputeCapability(Device *d, int *major, int *minor) {
    *major = d->major;
    *minor = d->minor;
    return d->fault;
}

#if !defined OLD && !defined ANCIENT
int nvmlDeviceGetNumGpuCores(Device *d, unsigned *cores) {
    *cores = d->cores;
    return d->cores ? OK : NOT_SUPPORTED;
}

int nvmlDeviceGetMigMode(Device *d, unsigned *now, unsigned *later) {
    if (d->mig < 0) return NOT_SUPPORTED;
    *now = *later = d->mig;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(Device *d, unsigned *count) { (void)d; *count = 7; return OK; }

int nvmlDeviceGetMigDeviceHandleByIndex(Device *d, unsigned index, Device **found) {
    unsigned seen = 0;
    for (int n = 0; n < instance_count; n++)
        if (&gpus[instances[n].parent] == d && seen++ == index) {
            *found = &instances[n];
            return OK;
        }
    return NOT_FOUND;
}
#endif

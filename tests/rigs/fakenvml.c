/* Rig R3: a libnvidia-ml of our own, for GPUs that nobody here has; gpus_file.h says what drives it.
 *
 * Keys of the system: driver, nvml, cuda, init, count. Keys of a GPU: see the functions below, and handle, the number
 * that asking for the GPU's handle returns (15 for a lost one). Where a key is missing the function returns
 * NVML_ERROR_NOT_SUPPORTED, as for a board that lacks the sensor. Names, structures and numbers are those of nvml.h;
 * a function that is not here is one that this driver's NVML does not have.
 */
#include "gpus_file.h"

enum {
    OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    MOST_GPUS = 8, MOST_INSTANCES = 7
};

struct gpu { int index, instance; }; /* instance: 0 for a whole GPU, else its place plus one */
struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char address[32]; };
struct memory { unsigned long long total, unused, used; };
struct memory_v2 { unsigned version; unsigned long long total, reserved, unused, used; };
struct utilisation { unsigned gpu, memory; };
struct process { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; };

struct expiry { unsigned year; unsigned short month, day, hour, minute, second; unsigned char status; };
struct feature { int code; unsigned licensed; char info[128], product[128]; unsigned enabled; struct expiry expiry; };
struct features { int supported; unsigned count; struct feature feature[3]; };

static struct gpu gpus[MOST_GPUS], instances[MOST_GPUS * MOST_INSTANCES];
static int initialised;

static const char *of_gpu(const struct gpu *gpu, const char *name)
{
    char key[96];
    if (gpu->instance)
        snprintf(key, sizeof key, "%d.%d.%s", gpu->index, gpu->instance - 1, name);
    else
        snprintf(key, sizeof key, "%d.%s", gpu->index, name);
    return value(key);
}

static int is_instance(const struct gpu *gpu)
{
    return gpu >= instances && gpu < instances + MOST_GPUS * MOST_INSTANCES;
}

static int enter_system(const char *function)
{
    int result = enter(function);
    return result || initialised ? result : UNINITIALIZED;
}

static int enter_gpu(const char *function, const struct gpu *gpu)
{
    int result = enter_system(function);
    if (result)
        return result;
    if ((gpu < gpus || gpu >= gpus + MOST_GPUS) && !is_instance(gpu))
        return INVALID_ARGUMENT;
    return (int)number(of_gpu(gpu, function));
}

static int text_to(const char *said, char *buffer, unsigned size)
{
    if (!said)
        return NOT_SUPPORTED;
    return (unsigned)snprintf(buffer, size, "%s", said) < size ? OK : INSUFFICIENT_SIZE;
}

static int number_to(const char *said, unsigned *target)
{
    if (said)
        *target = (unsigned)number(said);
    return said ? OK : NOT_SUPPORTED;
}

/* "NOW PENDING", or one number for both. */
static int pair_to(const char *said, unsigned *now, unsigned *pending)
{
    if (!said)
        return NOT_SUPPORTED;
    if (sscanf(said, "%u %u", now, pending) != 2)
        *pending = *now;
    return OK;
}

#define TRY(CALL) do { int result_ = (CALL); if (result_) return result_; } while (0)

/* ---- the system */

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    TRY(enter(__func__));
    TRY((int)number(value("init")));
    initialised++;
    return OK;
}

int nvmlInit_v2(void)
{
    TRY(enter(__func__));
    TRY((int)number(value("init")));
    initialised++;
    return OK;
}

int nvmlShutdown(void)
{
    TRY(enter_system(__func__));
    initialised--;
    return OK;
}

const char *nvmlErrorString(int code)
{
    static const char *const texts[] = {
        [0] = "Success", [1] = "Uninitialized", [2] = "Invalid Argument", [3] = "Not Supported",
        [4] = "Insufficient Permissions", [6] = "Not Found", [7] = "Insufficient Size", [9] = "Driver Not Loaded",
        [10] = "Timeout", [15] = "GPU is lost", [16] = "GPU requires reset",
        [17] = "GPU access blocked by the operating system", [18] = "Driver/library version mismatch",
        [28] = "No supported GPUs were found",
    };
    size_t known = sizeof texts / sizeof *texts;
    return code >= 0 && (size_t)code < known && texts[code] ? texts[code] : "Unknown Error";
}

/* Like 535 and 550 this one answers before nvmlInit. */
int nvmlSystemGetNVMLVersion(char *to, unsigned size)
{
    TRY(enter(__func__));
    return text_to(value("nvml"), to, size);
}

int nvmlSystemGetDriverVersion(char *to, unsigned size)
{
    TRY(enter_system(__func__));
    return text_to(value("driver"), to, size);
}

int nvmlSystemGetCudaDriverVersion_v2(int *to)
{
    TRY(enter_system(__func__));
    return number_to(value("cuda"), (unsigned *)to);
}

int nvmlSystemGetCudaDriverVersion(int *to)
{
    return nvmlSystemGetCudaDriverVersion_v2(to);
}

int nvmlDeviceGetCount_v2(unsigned *to)
{
    TRY(enter_system(__func__));
    return number_to(value("count"), to);
}

/* ---- finding a GPU */

static int handle_of(unsigned index, struct gpu **to)
{
    if (index >= number(value("count")) || index >= MOST_GPUS)
        return INVALID_ARGUMENT;
    gpus[index].index = (int)index;
    *to = &gpus[index];
    return (int)number(of_gpu(*to, "handle"));
}

static int handle_by(const char *name, const char *wanted, struct gpu **to)
{
    for (unsigned index = 0; index < number(value("count")) && index < MOST_GPUS; index++) {
        const char *said = of_gpu(&(struct gpu){(int)index, 0}, name);
        if (said && strcasecmp(said, wanted) == 0)
            return handle_of(index, to);
    }
    return NOT_FOUND;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct gpu **to)
{
    TRY(enter_system(__func__));
    return handle_of(index, to);
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *address, struct gpu **to)
{
    TRY(enter_system(__func__));
    return handle_by("pci", address, to);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, struct gpu **to)
{
    TRY(enter_system(__func__));
    return handle_by("uuid", uuid, to);
}

/* ---- one GPU: texts and numbers */

#define TEXT(NAME, KEY)                                                                                       \
    int NAME(struct gpu *gpu, char *to, unsigned size)                                                        \
    {                                                                                                         \
        TRY(enter_gpu(__func__, gpu));                                                                        \
        return text_to(of_gpu(gpu, KEY), to, size);                                                           \
    }
TEXT(nvmlDeviceGetName, "name")
TEXT(nvmlDeviceGetUUID, "uuid")
TEXT(nvmlDeviceGetSerial, "serial")
TEXT(nvmlDeviceGetVbiosVersion, "vbios")

#define NUMBER(NAME, KEY)                                                                                     \
    int NAME(struct gpu *gpu, unsigned *to)                                                                   \
    {                                                                                                         \
        TRY(enter_gpu(__func__, gpu));                                                                        \
        return number_to(of_gpu(gpu, KEY), to);                                                               \
    }
NUMBER(nvmlDeviceGetMinorNumber, "minor")
NUMBER(nvmlDeviceGetPowerUsage, "power") /* milliwatts, like both limits */
NUMBER(nvmlDeviceGetEnforcedPowerLimit, "limit")
NUMBER(nvmlDeviceGetPowerManagementLimit, "limit")
NUMBER(nvmlDeviceGetPersistenceMode, "persistence")
NUMBER(nvmlDeviceGetPerformanceState, "pstate")
NUMBER(nvmlDeviceGetComputeMode, "compute_mode")
NUMBER(nvmlDeviceGetArchitecture, "architecture")
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation")
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_generation_most")
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_most")
NUMBER(nvmlDeviceGetPcieReplayCounter, "pcie_replays")
NUMBER(nvmlDeviceGetRetiredPagesPendingStatus, "retired_pending")
NUMBER(nvmlDeviceGetVirtualizationMode, "virtualization")

#define PAIR(NAME, KEY)                                                                                       \
    int NAME(struct gpu *gpu, unsigned *now, unsigned *pending)                                               \
    {                                                                                                         \
        TRY(enter_gpu(__func__, gpu));                                                                        \
        return pair_to(of_gpu(gpu, KEY), now, pending);                                                       \
    }
PAIR(nvmlDeviceGetEccMode, "ecc")
PAIR(nvmlDeviceGetMigMode, "mig")

/* The instances of a GPU under MIG: 0.0.uuid=MIG-…, 0.0.memory_total=… and so on. */
int nvmlDeviceGetMaxMigDeviceCount(struct gpu *gpu, unsigned *to)
{
    TRY(enter_gpu(__func__, gpu));
    *to = of_gpu(gpu, "mig") ? MOST_INSTANCES : 0;
    return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct gpu *gpu, unsigned place, struct gpu **to)
{
    TRY(enter_gpu(__func__, gpu));
    if (place >= MOST_INSTANCES)
        return INVALID_ARGUMENT;
    *to = &instances[gpu->index * MOST_INSTANCES + (int)place];
    **to = (struct gpu){gpu->index, (int)place + 1};
    return of_gpu(*to, "uuid") ? OK : NOT_FOUND;
}

#define REASONS(NAME)                                                                                         \
    int NAME(struct gpu *gpu, unsigned long long *to)                                                         \
    {                                                                                                         \
        TRY(enter_gpu(__func__, gpu));                                                                        \
        const char *said = of_gpu(gpu, "throttle");                                                           \
        *to = number(said);                                                                                   \
        return said ? OK : NOT_SUPPORTED;                                                                     \
    }
REASONS(nvmlDeviceGetCurrentClocksThrottleReasons)
REASONS(nvmlDeviceGetCurrentClocksEventReasons)

/* One feature, which `licensed` (0 or 1) and `product` describe; without `licensed` there is nothing to license. */
int nvmlDeviceGetGridLicensableFeatures_v4(struct gpu *gpu, struct features *to)
{
    TRY(enter_gpu(__func__, gpu));
    const char *said = of_gpu(gpu, "licensed");
    char state = said ? *said : 0;
    *to = (struct features){.supported = state != 0, .count = state != 0};
    to->feature[0].licensed = to->feature[0].enabled = state == '1';
    return state ? text_to(of_gpu(gpu, "product"), to->feature[0].product, sizeof to->feature[0].product) : OK;
}

int nvmlDeviceGetIndex(struct gpu *gpu, unsigned *to)
{
    TRY(enter_gpu(__func__, gpu));
    *to = (unsigned)gpu->index;
    return OK;
}

int nvmlDeviceGetTemperature(struct gpu *gpu, int sensor, unsigned *to)
{
    TRY(enter_gpu(__func__, gpu));
    return sensor == 0 ? number_to(of_gpu(gpu, "temperature"), to) : INVALID_ARGUMENT;
}

/* ecc_volatile_corrected, ecc_volatile_uncorrected, ecc_aggregate_corrected, ecc_aggregate_uncorrected */
int nvmlDeviceGetTotalEccErrors(struct gpu *gpu, int uncorrected, int aggregate, unsigned long long *to)
{
    TRY(enter_gpu(__func__, gpu));
    char key[40];
    const char *since = aggregate ? "aggregate" : "volatile", *kind = uncorrected ? "uncorrected" : "corrected";
    snprintf(key, sizeof key, "ecc_%s_%s", since, kind);
    const char *said = of_gpu(gpu, key);
    *to = number(said);
    return said ? OK : NOT_SUPPORTED;
}

/* remapped=CORRECTABLE UNCORRECTABLE PENDING FAILED */
int nvmlDeviceGetRemappedRows(struct gpu *gpu, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                              unsigned *failed)
{
    TRY(enter_gpu(__func__, gpu));
    const char *said = of_gpu(gpu, "remapped");
    return said && sscanf(said, "%u %u %u %u", corrected, uncorrected, pending, failed) == 4 ? OK : NOT_SUPPORTED;
}

int nvmlDeviceGetCudaComputeCapability(struct gpu *gpu, int *major, int *minor)
{
    TRY(enter_gpu(__func__, gpu));
    const char *said = of_gpu(gpu, "compute");
    return said && sscanf(said, "%d.%d", major, minor) == 2 ? OK : NOT_SUPPORTED;
}

int nvmlDeviceGetUtilizationRates(struct gpu *gpu, struct utilisation *to)
{
    TRY(enter_gpu(__func__, gpu));
    to->memory = (unsigned)number(of_gpu(gpu, "utilisation_memory"));
    return number_to(of_gpu(gpu, "utilisation"), &to->gpu);
}

/* ---- one GPU: structures */

/* pci=00000000:01:00.0; pci_id is the device in the upper and the vendor in the lower half */
int nvmlDeviceGetPciInfo_v3(struct gpu *gpu, struct pci *to)
{
    TRY(enter_gpu(__func__, gpu));
    memset(to, 0, sizeof *to);
    TRY(text_to(of_gpu(gpu, "pci"), to->address, sizeof to->address));
    if (sscanf(to->address, "%x:%x:%x", &to->domain, &to->bus, &to->device) != 3)
        return NOT_SUPPORTED;
    snprintf(to->legacy, sizeof to->legacy, "%04X:%02X:%02X.0", to->domain & 0xffff, to->bus & 0xff, to->device & 0xff);
    to->id = (unsigned)number(of_gpu(gpu, "pci_id"));
    return OK;
}

static int memory_of(struct gpu *gpu, unsigned long long *total, unsigned long long *used, unsigned long long *unused)
{
    const char *said = of_gpu(gpu, "memory_total"), *rest = of_gpu(gpu, "memory_free");
    *total = number(said);
    *used = number(of_gpu(gpu, "memory_used"));
    *unused = rest ? number(rest) : *total - *used;
    return said ? OK : NOT_SUPPORTED;
}

int nvmlDeviceGetMemoryInfo(struct gpu *gpu, struct memory *to)
{
    TRY(enter_gpu(__func__, gpu));
    return memory_of(gpu, &to->total, &to->used, &to->unused);
}

int nvmlDeviceGetMemoryInfo_v2(struct gpu *gpu, struct memory_v2 *to)
{
    TRY(enter_gpu(__func__, gpu));
    to->reserved = 0;
    return memory_of(gpu, &to->total, &to->used, &to->unused);
}

/* No link, as on a board without NVLink. */
int nvmlDeviceGetNvLinkState(struct gpu *gpu, unsigned link, unsigned *active)
{
    TRY(enter_gpu(__func__, gpu));
    (void)link, (void)active;
    return NOT_SUPPORTED;
}

/* process=PID BYTES, PID BYTES, … and graphics= likewise; where BYTES is "-", NVML's "not available": all ones */
static int processes_of(const char *said, unsigned *count, struct process *to)
{
    unsigned room = *count, found = 0;
    for (const char *at = said; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL, found++) {
        char bytes[24] = "-";
        struct process one = {.gpu_instance = ~0u, .compute_instance = ~0u, .memory = ~0ull};
        if (sscanf(at, "%u %23[0-9-]", &one.pid, bytes) != 2)
            return NOT_SUPPORTED;
        if (strcmp(bytes, "-") != 0)
            one.memory = number(bytes);
        if (to && found < room)
            to[found] = one;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : OK;
}

#define PROCESSES(NAME, KEY)                                                                                  \
    int NAME(struct gpu *gpu, unsigned *count, struct process *to)                                            \
    {                                                                                                         \
        TRY(enter_gpu(__func__, gpu));                                                                        \
        return processes_of(of_gpu(gpu, KEY), count, to);                                                     \
    }
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, "process")
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, "process")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, "graphics")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics")

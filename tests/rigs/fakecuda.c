/* Rig R3: a libcuda of our own, driven by the same file as fakenvml.c; gpus_file.h says how.
 *
 * Keys: cuda (12040 for CUDA 12.4), cuinit (the CUresult of cuInit), cucount, mps (the CUresult of
 * cuCtxCreate for a program that goes past an MPS server), and for each GPU N.name, N.pci, N.compute_mode, N.wrong (the word that its kernel
 * gets wrong), N.jit (what its compiler says), and N.FUNCTION, N.crash and N.hang.
 * Memory of a GPU is memory of the process, and the one kernel that there is is that of nvdiag's smoke test.
 */
#include "gpus_file.h"

#include <stdint.h>

enum {
    SUCCESS = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201,
    NOT_FOUND = 500
};
enum { COMPUTE_MODE = 20, JIT_ERROR_LOG = 5, JIT_ERROR_LOG_SIZE = 6 };

static const struct { int code; const char *name, *text; } errors[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "forward compatibility was attempted on non supported HW"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};
static int initialised;
static int current = -1; /* the GPU that the context is on */

static int enter_initialised(const char *function)
{
    int result = enter(function);
    return result || initialised ? result : NOT_INITIALIZED;
}

static const char *of_gpu(int device, const char *name)
{
    char key[96];
    snprintf(key, sizeof key, "%d.%s", device, name);
    return value(key);
}

static int enter_gpu(const char *function, int device)
{
    int result = enter_initialised(function);
    meet(of_gpu(device, "crash"), of_gpu(device, "hang"), function);
    return result ? result : (int)number(of_gpu(device, function));
}

static int enter_context(const char *function)
{
    return current < 0 ? INVALID_CONTEXT : enter_gpu(function, current);
}

static int text_to(const char *said, char *to, int size)
{
    if (!said || size <= 0)
        return INVALID_DEVICE;
    snprintf(to, (size_t)size, "%s", said);
    return SUCCESS;
}

int cuDriverGetVersion(int *version)
{
    int result = enter(__func__);
    *version = (int)number(value("cuda"));
    return result;
}

int cuInit(unsigned flags)
{
    int result = enter(__func__);
    if (flags != 0)
        return INVALID_VALUE;
    result = result ? result : (int)number(value("cuinit"));
    initialised = result == SUCCESS;
    return result;
}

int cuDeviceGetCount(int *count)
{
    int result = enter_initialised(__func__);
    *count = (int)number(value("cucount"));
    return result;
}

int cuDeviceGet(int *device, int ordinal)
{
    int result = enter_gpu(__func__, ordinal);
    *device = ordinal;
    if (result)
        return result;
    return ordinal >= 0 && ordinal < (int)number(value("cucount")) ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceGetName(char *name, int size, int device)
{
    int result = enter_gpu(__func__, device);
    return result ? result : text_to(of_gpu(device, "name"), name, size);
}

int cuDeviceGetPCIBusId(char *address, int size, int device)
{
    int result = enter_gpu(__func__, device);
    const char *wide = of_gpu(device, "pci"); /* NVML's, whose domain has four digits more */
    return result ? result : text_to(wide ? wide + 4 : NULL, address, size);
}

int cuDeviceGetAttribute(int *to, int attribute, int device)
{
    int result = enter_gpu(__func__, device);
    if (attribute != COMPUTE_MODE)
        return INVALID_VALUE;
    *to = (int)number(of_gpu(device, "compute_mode"));
    return result;
}

/* ---- work */

int cuCtxCreate_v2(void **context, unsigned flags, int device)
{
    int result = enter_gpu(__func__, device);
    const char *pipes = getenv("CUDA_MPS_PIPE_DIRECTORY");
    if (!result && pipes && strncmp(pipes, "/proc/", 6) == 0)
        result = (int)number(value("mps"));
    if (result || flags)
        return result ? result : INVALID_VALUE;
    current = device;
    *context = &current;
    return SUCCESS;
}

int cuCtxSynchronize(void) { return enter_context(__func__); }

int cuCtxDestroy_v2(void *context)
{
    int result = enter_context(__func__);
    if (context != &current)
        return INVALID_CONTEXT;
    current = -1;
    return result;
}

int cuMemAlloc_v2(uint64_t *memory, size_t size)
{
    int result = enter_context(__func__);
    if (!result)
        *memory = (uint64_t)(uintptr_t)malloc(size);
    return result;
}

int cuMemFree_v2(uint64_t memory)
{
    int result = enter_context(__func__);
    if (!result)
        free((void *)(uintptr_t)memory);
    return result;
}

int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t size)
{
    int result = enter_context(__func__);
    if (!result)
        memcpy((void *)(uintptr_t)to, from, size);
    return result;
}

int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size)
{
    int result = enter_context(__func__);
    if (!result)
        memcpy(to, (void *)(uintptr_t)from, size);
    return result;
}

int cuModuleLoadDataEx(const char **module, const char *image, unsigned count, const int *options, void **values)
{
    int result = enter_context(__func__);
    *module = strdup(image); /* the program may free its own */
    if (!result && !strstr(image, "\n.version "))
        result = INVALID_IMAGE;
    const char *said = of_gpu(current, "jit");
    if (result && said && count == 2 && options[0] == JIT_ERROR_LOG && options[1] == JIT_ERROR_LOG_SIZE)
        snprintf(values[0], (size_t)(uintptr_t)values[1], "%s", said);
    return result;
}

int cuModuleUnload(char *module)
{
    int result = enter_context(__func__);
    if (!result)
        free(module);
    return result;
}

int cuModuleGetFunction(const char **function, const char *module, const char *name)
{
    int result = enter_context(__func__);
    *function = strstr(module, name);
    return result || *function ? result : NOT_FOUND;
}

/* What smoke.ptx says, by a thread for each word. */
int cuLaunchKernel(const char *function, unsigned blocks, unsigned blocks_y, unsigned blocks_z, unsigned threads,
                   unsigned threads_y, unsigned threads_z, unsigned shared, void *stream, void **parameters, void **extra)
{
    int result = enter_context(__func__);
    if (result || !function || blocks_y * blocks_z * threads_y * threads_z != 1 || shared || stream || extra)
        return result ? result : INVALID_VALUE;
    uint32_t *page = (uint32_t *)(uintptr_t) * (uint64_t *)parameters[0], words = *(uint32_t *)parameters[1];
    for (uint32_t index = 0; index < blocks * threads && index < words; index++)
        page[index] = (page[index] * 1664525u + 1013904223u) ^ index;
    const char *wrong = of_gpu(current, "wrong");
    if (wrong)
        page[number(wrong) % words] ^= 1;
    return SUCCESS;
}

/* ---- errors */

int cuGetErrorName(int code, const char **name)
{
    *name = NULL;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code)
            *name = errors[i].name;
    return *name ? SUCCESS : INVALID_VALUE;
}

int cuGetErrorString(int code, const char **text)
{
    *text = NULL;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code)
            *text = errors[i].text;
    return *text ? SUCCESS : INVALID_VALUE;
}

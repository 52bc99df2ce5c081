/* Rig R3: a libcuda of our own, driven by the same file as fakenvml.c; gpus_file.h says how.
 *
 * Keys: cuda (12040 for CUDA 12.4), cuinit (the CUresult of cuInit), cucount, and N.name of each GPU.
 */
#include "gpus_file.h"

enum { SUCCESS = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, INVALID_DEVICE = 101 };

static const struct { int code; const char *name, *text; } errors[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "forward compatibility was attempted on non supported HW"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};
static int initialised;

static int enter_initialised(const char *function)
{
    int result = enter(function);
    return result || initialised ? result : NOT_INITIALIZED;
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
    int result = enter_initialised(__func__);
    *device = ordinal;
    if (result)
        return result;
    return ordinal >= 0 && ordinal < (int)number(value("cucount")) ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceGetName(char *name, int size, int device)
{
    int result = enter_initialised(__func__);
    char key[32];
    snprintf(key, sizeof key, "%d.name", device);
    if (result || size <= 0 || !value(key))
        return result ? result : INVALID_DEVICE;
    snprintf(name, (size_t)size, "%s", value(key));
    return SUCCESS;
}

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

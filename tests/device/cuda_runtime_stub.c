/* A CUDA runtime and driver with one GPU that never computes: what autograd asks for before it runs a backward pass.

   Loaded before the real ones (LD_PRELOAD, under the driver's name). Every function returns 0, success; the few that answer through a pointer
   write plain numbers. No header of CUDA is needed. */

#include <stddef.h>
#include <string.h>

#define OK(name) int name(void) { return 0; }

OK(cudaSetDevice) OK(cudaGetLastError) OK(cudaPeekAtLastError) OK(cudaDeviceSynchronize)
OK(cudaStreamQuery) OK(cudaStreamSynchronize) OK(cudaStreamWaitEvent)
OK(cudaEventRecord) OK(cudaEventRecordWithFlags) OK(cudaEventQuery) OK(cudaEventSynchronize) OK(cudaEventDestroy)

/* Of the driver, what torch's library for compiled kernels links with. */
OK(cuCtxGetCurrent) OK(cuCtxSetCurrent) OK(cuDeviceGet) OK(cuDeviceGetAttribute) OK(cuDevicePrimaryCtxRetain)
OK(cuFuncGetAttribute) OK(cuFuncSetAttribute) OK(cuFuncSetCacheConfig) OK(cuGetErrorString)
OK(cuLaunchCooperativeKernel) OK(cuLaunchKernel) OK(cuLinkAddData_v2) OK(cuLinkComplete) OK(cuLinkCreate_v2)
OK(cuModuleGetFunction) OK(cuModuleLoad) OK(cuModuleLoadData) OK(cuModuleLoadDataEx) OK(cuModuleUnload)
OK(cuOccupancyMaxActiveBlocksPerMultiprocessor) OK(cuPointerGetAttribute) OK(cuTensorMapEncodeTiled)

int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0; *active = 0; return 0; }

static long handle;

int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaDriverGetVersion(int *version) { *version = 13000; return 0; }
int cudaDeviceGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -1; return 0; }
int cudaStreamCreateWithPriority(void **stream) { *stream = &handle; return 0; }
int cudaEventCreateWithFlags(void **event) { *event = &handle; return 0; }
int cudaStreamIsCapturing(void *stream, int *status) { *status = 0; return 0; }
int cudaMemGetInfo(size_t *free, size_t *total) { *free = *total = (size_t)80 << 30; return 0; }

/* The beginning of CUDA 13's struct cudaDeviceProp; what follows stays as torch has cleared it. */
struct properties {
    char name[256], uuid[16], luid[8];
    unsigned int luid_mask;
    size_t memory, shared_memory_per_block;
    int registers_per_block, warp_size;
    size_t pitch;
    int threads_per_block, threads_per_side[3], blocks_per_side[3];
    size_t constant_memory;
    int major, minor;
    size_t texture_alignment, texture_pitch;
    int processors;
};

int cudaGetDeviceProperties(struct properties *properties) {
    memset(properties, 0, sizeof *properties);
    strcpy(properties->name, "simulated");
    properties->memory = (size_t)80 << 30;
    properties->warp_size = 32;
    properties->threads_per_block = 1024;
    properties->major = 9;
    properties->processors = 132;
    return 0;
}

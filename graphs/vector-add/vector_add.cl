// c = a + b, one number for each work-item; the index space may be larger than the vectors.
__kernel void vector_add(__global const float *a, __global const float *b, __global float *c, const uint length)
{
    const size_t index = get_global_id(0);
    if (index < length) {
        c[index] = a[index] + b[index];
    }
}

// The four kernels of the tiled right-looking Cholesky factorisation A = L L^T.
//
// A tile is n rows of n numbers. Built with -D real=float or -D real=double, and with -D USE_DOUBLE=1 for the latter.
// Every kernel runs in work-groups of BLOCK x BLOCK and accepts any n; what lies beyond the tile counts as zero.

#if USE_DOUBLE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

#define BLOCK 16
// Each work-item of the update kernels computes 2 x 2 numbers.
#define WIDE (2 * BLOCK)

// Factorises one tile in place with one work-group; `column` has room for n numbers. Clears the part above the
// diagonal.
__kernel __attribute__((reqd_work_group_size(BLOCK, BLOCK, 1)))
void potrf(__global real *a, const int n, __local real *column)
{
    const int x = get_local_id(0);
    const int y = get_local_id(1);
    const int item = y * BLOCK + x;

    for (int j = 0; j < n; j++) {
        const real pivot = sqrt(a[j * n + j]);
        // Everyone has read the diagonal before it is replaced.
        barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
        for (int i = j + item; i < n; i += BLOCK * BLOCK) {
            const real value = i == j ? pivot : a[i * n + j] / pivot;
            a[i * n + j] = value;
            column[i] = value;
        }
        barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
        for (int i = j + 1 + y; i < n; i += BLOCK) {
            for (int k = j + 1 + x; k <= i; k += BLOCK) {
                a[i * n + k] -= column[i] * column[k];
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    }
    for (int i = y; i < n; i += BLOCK) {
        for (int k = i + 1 + x; k < n; k += BLOCK) {
            a[i * n + k] = 0;
        }
    }
}

// b := b l^-T for a lower triangular l. A work-group computes BLOCK rows of b, from left to right in blocks of BLOCK
// columns: subtracts what the finished blocks contribute, then solves with the diagonal block of l.
__kernel __attribute__((reqd_work_group_size(BLOCK, BLOCK, 1)))
void trsm(__global const real *l, __global real *b, const int n)
{
    __local real factor[BLOCK][BLOCK + 1];
    __local real done[BLOCK][BLOCK + 1];
    const int x = get_local_id(0);
    const int y = get_local_id(1);
    const int row = get_group_id(1) * BLOCK + y;

    for (int c = 0; c < n; c += BLOCK) {
        const int column = c + x;
        real value = row < n && column < n ? b[row * n + column] : (real)0;
        for (int p = 0; p < c; p += BLOCK) {
            // Earlier blocks are always whole; rows of l beyond the end are not.
            factor[y][x] = c + y < n ? l[(c + y) * n + p + x] : (real)0;
            done[y][x] = row < n ? b[row * n + p + x] : (real)0;
            barrier(CLK_LOCAL_MEM_FENCE);
            for (int k = 0; k < BLOCK; k++) {
                value -= done[y][k] * factor[x][k];
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        // A diagonal of one beyond the end keeps the division harmless there.
        factor[y][x] = c + y < n && column < n ? l[(c + y) * n + column] : (real)(x == y);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int k = 0; k < BLOCK; k++) {
            if (x == k) {
                value /= factor[k][k];
                done[y][k] = value;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            if (x > k) {
                value -= done[y][k] * factor[x][k];
            }
        }
        if (row < n && column < n) {
            b[row * n + column] = value;
        }
        // The next blocks read these rows back, and reuse the local memory.
        barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    }
}

// c := c - a b^T for the WIDE x WIDE numbers of one work-group.
void update(__global const real *a, __global const real *b, __global real *c, const int n,
            __local real (*left)[BLOCK + 1], __local real (*right)[BLOCK + 1])
{
    const int x = get_local_id(0);
    const int y = get_local_id(1);
    const int top = get_group_id(1) * WIDE;
    const int start = get_group_id(0) * WIDE;
    real sum[2][2] = {{0, 0}, {0, 0}};

    for (int p = 0; p < n; p += BLOCK) {
        for (int part = 0; part < 2; part++) {
            const int line = part * BLOCK + y;
            left[line][x] = top + line < n && p + x < n ? a[(top + line) * n + p + x] : (real)0;
            right[line][x] = start + line < n && p + x < n ? b[(start + line) * n + p + x] : (real)0;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int k = 0; k < BLOCK; k++) {
            const real upper = left[y][k];
            const real lower = left[y + BLOCK][k];
            const real first = right[x][k];
            const real second = right[x + BLOCK][k];
            sum[0][0] += upper * first;
            sum[0][1] += upper * second;
            sum[1][0] += lower * first;
            sum[1][1] += lower * second;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2; k++) {
            const int row = top + i * BLOCK + y;
            const int column = start + k * BLOCK + x;
            if (row < n && column < n) {
                c[row * n + column] -= sum[i][k];
            }
        }
    }
}

// c := c - a b^T
__kernel __attribute__((reqd_work_group_size(BLOCK, BLOCK, 1)))
void gemm(__global const real *a, __global const real *b, __global real *c, const int n)
{
    __local real left[WIDE][BLOCK + 1];
    __local real right[WIDE][BLOCK + 1];
    update(a, b, c, n, left, right);
}

// c := c - a a^T on and below the diagonal; above it, only what shares a work-group with the diagonal.
__kernel __attribute__((reqd_work_group_size(BLOCK, BLOCK, 1)))
void syrk(__global const real *a, __global real *c, const int n)
{
    __local real left[WIDE][BLOCK + 1];
    __local real right[WIDE][BLOCK + 1];
    if (get_group_id(0) <= get_group_id(1)) {
        update(a, a, c, n, left, right);
    }
}

// Luminance, Gaussian blur, Sobel edges and histogram equalisation of an 8-bit RGB image.
//
// Whole numbers throughout, so that every device computes the same bytes. Each kernel works on a strip of `rows` rows
// from row `top` on, in buffers that hold the whole image; beyond its border the image continues with its border.

// One sample for each pixel: 0.299 red + 0.587 green + 0.114 blue in 256ths, rounded.
__kernel void luminance(__global const uchar *image, __global uchar *grey, const int width, const int top, const int rows)
{
    const int x = get_global_id(0);
    const int y = top + get_global_id(1);
    if (x >= width || get_global_id(1) >= rows) {
        return;
    }
    const size_t pixel = (size_t)y * width + x;
    const uint red = image[3 * pixel];
    const uint green = image[3 * pixel + 1];
    const uint blue = image[3 * pixel + 2];
    grey[pixel] = (uchar)((77 * red + 150 * green + 29 * blue + 128) >> 8);
}

// The first half of the blur: sums of five neighbours in the row with the weights 1 4 6 4 1.
__kernel void blur_rows(__global const uchar *grey, __global ushort *sums, const int width, const int top, const int rows)
{
    const int x = get_global_id(0);
    const int y = top + get_global_id(1);
    if (x >= width || get_global_id(1) >= rows) {
        return;
    }
    __global const uchar *row = grey + (size_t)y * width;
    const uint far = row[max(x - 2, 0)] + row[min(x + 2, width - 1)];
    const uint near = row[max(x - 1, 0)] + row[min(x + 1, width - 1)];
    sums[(size_t)y * width + x] = (ushort)(far + 4 * near + 6 * row[x]);
}

// The second half of the blur: the same in the column, divided by the sum of all weights, 256, and rounded.
__kernel void blur_columns(__global const ushort *sums, __global uchar *blurred, const int width, const int height,
                           const int top, const int rows)
{
    const int x = get_global_id(0);
    const int y = top + get_global_id(1);
    if (x >= width || get_global_id(1) >= rows) {
        return;
    }
    const size_t pitch = width;
    const uint far = sums[max(y - 2, 0) * pitch + x] + sums[min(y + 2, height - 1) * pitch + x];
    const uint near = sums[max(y - 1, 0) * pitch + x] + sums[min(y + 1, height - 1) * pitch + x];
    blurred[y * pitch + x] = (uchar)((far + 4 * near + 6 * sums[y * pitch + x] + 128) >> 8);
}

// The largest whole number whose square is not above `value`, which is less than 2^22.
uint whole_root(const uint value)
{
    uint root = 0;
    for (uint bit = 1 << 10; bit > 0; bit >>= 1) {
        const uint trial = root | bit;
        if (trial * trial <= value) {
            root = trial;
        }
    }
    return root;
}

// The magnitude of the gradient by Sobel's two masks, rounded down, 255 at most.
__kernel void sobel(__global const uchar *blurred, __global uchar *edges, const int width, const int height,
                    const int top, const int rows)
{
    const int x = get_global_id(0);
    const int y = top + get_global_id(1);
    if (x >= width || get_global_id(1) >= rows) {
        return;
    }
    __global const uchar *above = blurred + (size_t)max(y - 1, 0) * width;
    __global const uchar *level = blurred + (size_t)y * width;
    __global const uchar *below = blurred + (size_t)min(y + 1, height - 1) * width;
    const int west = max(x - 1, 0);
    const int east = min(x + 1, width - 1);
    const int across = (above[east] + 2 * level[east] + below[east]) - (above[west] + 2 * level[west] + below[west]);
    const int down = (below[west] + 2 * below[x] + below[east]) - (above[west] + 2 * above[x] + above[east]);
    edges[(size_t)y * width + x] = (uchar)min(whole_root((uint)(across * across + down * down)), 255u);
}

// Counts the samples of a strip into its own 256 counters, which must be zero before. Work-groups of 256.
__kernel __attribute__((reqd_work_group_size(256, 1, 1)))
void histogram(__global const uchar *edges, __global uint *histograms, const int strip, const int width, const int top,
               const int rows)
{
    __local uint counts[256];
    const uint item = get_local_id(0);
    counts[item] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    __global const uchar *samples = edges + (size_t)top * width;
    const size_t total = (size_t)rows * width;
    for (size_t index = get_global_id(0); index < total; index += get_global_size(0)) {
        atomic_inc(&counts[samples[index]]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (counts[item] > 0) {
        atomic_add(&histograms[strip * 256 + item], counts[item]);
    }
}

// Adds up the histograms of all strips and derives the table that equalises them. One work-group of 256.
__kernel __attribute__((reqd_work_group_size(256, 1, 1)))
void equalisation_table(__global const uint *histograms, __global uchar *table, const int strips)
{
    __local uint cumulative[256];
    __local uint base;
    const uint level = get_local_id(0);
    uint count = 0;
    for (int strip = 0; strip < strips; strip++) {
        count += histograms[strip * 256 + level];
    }
    cumulative[level] = count;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint distance = 1; distance < 256; distance *= 2) {
        const uint before = level >= distance ? cumulative[level - distance] : 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        cumulative[level] += before;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    // Exactly one level is the darkest that occurs.
    if (count > 0 && cumulative[level] == count) {
        base = count;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const ulong spread = cumulative[255] - base;
    const ulong above = cumulative[level] > base ? cumulative[level] - base : 0;
    table[level] = spread == 0 ? (uchar)level : (uchar)((above * 255 + spread / 2) / spread);
}

// Replaces each sample of a strip by its entry in the table.
__kernel void equalise(__global const uchar *edges, __global const uchar *table, __global uchar *result,
                       const int width, const int top, const int rows)
{
    const int x = get_global_id(0);
    const int y = top + get_global_id(1);
    if (x >= width || get_global_id(1) >= rows) {
        return;
    }
    const size_t pixel = (size_t)y * width + x;
    result[pixel] = table[edges[pixel]];
}

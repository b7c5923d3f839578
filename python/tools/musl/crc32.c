/* A zlib for CPython's module binascii, which wants this one function of it; see test-musl.sh. */
unsigned long crc32(unsigned long crc, const unsigned char *data, unsigned length) {
    crc = ~crc & 0xffffffff;
    while (length--) {
        crc ^= *data++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc & 0xffffffff;
}

"""The endings of the names of photos, videos and archives, and of what isn't read."""

PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff"),
    *(".heic", ".heif", ".hif", ".avif"),
)
VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".3gp", ".mts", ".m2ts"),
    *(".mpg", ".mpeg", ".wmv", ".ogv", ".flv", ".3g2", ".ts", ".m2t", ".m2v", ".mxf", ".asf", ".vob", ".f4v"),
    *(".h264", ".h265", ".hevc", ".insv", ".mjpeg", ".mjpg"),
)
ARCHIVE_SUFFIXES = (".zip", ".r3d")
RAW_SUFFIXES = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw")
# Pictures of kinds that are not read.
UNREAD_SUFFIXES = (*RAW_SUFFIXES, ".gif", ".bmp", ".jxl", ".jp2", ".psd", ".insp")
# Files beside the photos that may hold their cameras.
POSE_SUFFIXES = (".json", ".xml", ".csv", ".txt", ".npy", ".xmp")

<?php /* A form with an upload:
    curl -F name=Ada -F file=@README.md http://127.0.0.1:8080/fn/page */ ?>
<!DOCTYPE html>
<meta charset="utf-8">
<title>A PHP page</title>
<?php
$name = $_POST['name'] ?? '';
// name[]=x would make it an array.
$name = is_string($name) ? trim($name) : ''; ?>
<?php if ($name !== ''): ?>
<p>Good day, <?= htmlspecialchars($name) ?>.
<?php endif; ?>
<?php foreach ($_FILES as $file): ?>
<?php if ($file['error'] === UPLOAD_ERR_OK): ?>
<p><?= htmlspecialchars($file['name']) ?> has <?= $file['size'] ?> bytes,
SHA-256 <?= hash_file('sha256', $file['tmp_name']) ?>.
<?php elseif ($file['error'] !== UPLOAD_ERR_NO_FILE): ?>
<p>A file could not be taken.
<?php endif; ?>
<?php endforeach; ?>
<form method="post" enctype="multipart/form-data">
<input name="name" placeholder="your name"> <input type="file" name="file">
<button>send</button>
</form>
<p>PHP <?= PHP_VERSION ?>
